import { useEffect, useState, type ReactElement } from "react";
import type { RunView } from "../run/view";
import type { ThreadStore } from "./thread";

/**
 * Says to who cannot see it what happens in the thread: that it is worked on, what waits for him, and the whole answer
 * once it is there. Not the growing one: a text that is read aloud anew with each piece cannot be followed.
 */
export function Announcer({ store }: { store: ThreadStore }): ReactElement {
  const view = store.latest;
  const state = view === null ? null : stateOf(view);
  const [said, setSaid] = useState("");
  useEffect(() => {
    if (view === null || state === null || store.announced.get(view.runId) === state) return;
    store.announced.set(view.runId, state);
    setSaid(sentence(view, state));
  }, [store, view, state]);
  return (
    <div className="unseen" role="status" aria-live="polite">
      {said}
    </div>
  );
}

function answerOf({ texts, root }: RunView): string {
  if (texts.length > 0) return texts.map(({ text }) => text).join("\n");
  return typeof root?.output === "string" ? root.output : "";
}

function stateOf(view: RunView): string {
  return [view.state, ...view.waiting.map(({ callId }) => callId)].join(" ");
}

function sentence(view: RunView, state: string): string {
  const [call] = view.waiting;
  if (call?.question !== undefined) return `A question for you: ${call.question.text}`;
  if (call !== undefined) return `${call.tool} waits for your word.`;
  switch (state) {
    case "queued":
      return view.queued === null ? "Sent." : `It waits: ${view.queued}.`;
    case "completed":
      return answerOf(view) || "Done.";
    case "cancelled":
      return "Stopped.";
    case "failed":
      return ""; // The failure itself is an alert.
    default:
      return "The answer is being made.";
  }
}
