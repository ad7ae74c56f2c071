import { ChevronRight, CircleAlert, CircleCheck, CircleSlash, Hand, Loader, MessageCircleQuestion } from "lucide-react";
import { useState, type ReactElement } from "react";
import type { ThreadStore } from "../chat/thread";
import { Queued } from "./Queued";
import type { AgentState, AgentView, Call, CallState, RunView } from "./view";

/** What a run did, agent by agent; folded once it has ended. */
export function Timeline({ view, store, runId }: { view: RunView | null; store: ThreadStore; runId: string }): ReactElement {
  if (view === null) {
    return (
      <button type="button" className="quiet recall" onClick={() => void store.recall(runId)}>
        <ChevronRight aria-hidden size={14} /> What was done
      </button>
    );
  }
  return (
    <>
      {view.root === null && <Queued view={view} />}
      {view.root !== null && (
        <details className="timeline" open={!view.ended}>
          <summary>
            <State of={view.state === "waiting" ? "waiting" : view.root.state} /> {summary(view)}
          </summary>
          <Agent agent={view.root} />
        </details>
      )}
      {view.waiting.map((call) =>
        call.question === undefined ? (
          <Approval key={call.callId} call={call} store={store} />
        ) : (
          <Question key={call.callId} id={call.question.id} text={call.question.text} store={store} />
        ),
      )}
    </>
  );
}

/** An agent with its thoughts and calls, and its members below theirs. */
export function Agent({ agent }: { agent: AgentView }): ReactElement {
  return (
    <ol className="agent" aria-label={agent.agent}>
      {agent.depth > 0 && (
        <li className="agent-name">
          <State of={agent.state} /> <strong>{agent.agent}</strong>
          {agent.failure !== undefined && <span className="failed"> {agent.failure.message}</span>}
        </li>
      )}
      {agent.items.map((item, index) =>
        item.kind === "thought" ? (
          <li key={index} className="thought">
            {item.text}
          </li>
        ) : (
          <li key={item.callId}>
            <ToolCall call={item} />
          </li>
        ),
      )}
    </ol>
  );
}

function ToolCall({ call }: { call: Call }): ReactElement {
  return (
    <>
      <details className="call">
        <summary>
          <State of={call.state} /> <code>{call.tool}</code>
          {call.durationMs !== undefined && <span className="duration">{seconds(call.durationMs)}</span>}
        </summary>
        <Shown label="Arguments" value={call.arguments} />
        {call.error !== undefined && (
          <p className="failed">
            {call.error.message} <code>{call.error.code}</code>
          </p>
        )}
        {call.result !== undefined && <Shown label="Result" value={call.result} />}
      </details>
      {call.member !== undefined && <Agent agent={call.member} />}
    </>
  );
}

function Approval({ call, store }: { call: Call; store: ThreadStore }): ReactElement | null {
  const [note, setNote] = useState("");
  const approval = call.approval;
  if (approval === undefined) return null;
  return (
    <section className="approval" aria-label={`${call.tool} waits for your word`}>
      <p>
        <Hand aria-hidden size={16} /> <code>{call.tool}</code> waits for your word
        {approval.again && ": it may have been made already, before a crash"}.
      </p>
      <Shown label="Arguments" value={call.arguments} />
      <input
        aria-label="Note"
        placeholder="A note, if you reject it"
        value={note}
        maxLength={2000}
        onChange={(event) => setNote(event.target.value)}
      />
      <div className="row">
        <button type="button" onClick={() => void store.decide(approval.id, "approve")}>
          Approve
        </button>
        <button
          type="button"
          className="quiet"
          onClick={() => void store.decide(approval.id, "reject", note.trim() || undefined)}
        >
          Reject
        </button>
      </div>
    </section>
  );
}

function Question({ id, text, store }: { id: string; text: string; store: ThreadStore }): ReactElement {
  return (
    <form
      className="approval"
      aria-label="A question"
      onSubmit={(event) => {
        event.preventDefault();
        const answer = String(new FormData(event.currentTarget).get("answer")).trim();
        if (answer) void store.answer(id, answer);
      }}
    >
      <p>
        <MessageCircleQuestion aria-hidden size={16} /> {text}
      </p>
      <div className="row">
        <input name="answer" aria-label="Answer" placeholder="Answer" maxLength={10_000} required />
        <button type="submit">Answer</button>
      </div>
    </form>
  );
}

function Shown({ label, value }: { label: string; value: unknown }): ReactElement {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  return (
    <figure className="shown">
      <figcaption>{label}</figcaption>
      <pre tabIndex={0}>{text}</pre>
    </figure>
  );
}

const ICONS = {
  running: [Loader, "running"],
  waiting: [Hand, "waiting"],
  done: [CircleCheck, "done"],
  completed: [CircleCheck, "done"],
  failed: [CircleAlert, "failed"],
  cancelled: [CircleSlash, "stopped"],
} as const;

function State({ of }: { of: AgentState | CallState }): ReactElement {
  const [Icon, said] = ICONS[of];
  return <Icon role="img" aria-label={said} className={`state ${said}`} size={14} />;
}

function summary(view: RunView): string {
  const root = view.root;
  if (root === null) return "";
  if (view.away) return "Connection lost; it goes on";
  const last = root.items.at(-1);
  if (root.state === "running" && last !== undefined) return last.kind === "thought" ? last.text : last.tool;
  const calls = root.items.filter((item) => item.kind === "call").length;
  const worked = root.durationMs === undefined ? "" : ` in ${seconds(root.durationMs)}`;
  return `${root.agent}${worked}${calls ? `, ${calls} ${calls === 1 ? "call" : "calls"}` : ""}`;
}

function seconds(ms: number): string {
  return ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`;
}
