import {
  ActionBarPrimitive,
  AuiIf,
  ComposerPrimitive,
  MessagePrimitive,
  ThreadPrimitive,
  useAuiState,
} from "@assistant-ui/react";
import { Check, Copy, Pencil, RefreshCw } from "lucide-react";
import { createContext, lazy, memo, Suspense, useContext, useEffect, type ReactElement } from "react";
import { Timeline } from "../run/Timeline";
import type { RunView } from "../run/view";
import { Attached } from "./Conversation";
import { messagesOf, type ThreadStore, type Turn } from "./thread";

// Loaded with the first answer, not with the page: it is half of what a browser would have to read.
const Markdown = lazy(() => import("./Markdown"));
export const Store = createContext<ThreadStore | null>(null);

interface RowProps {
  turn: Turn;
  index: number;
  /** Which one of how many; null while nobody knows. */
  place: [number, number] | null;
  size: number;
  measure: (row: Element | null) => void;
}

/** A turn: what was asked, what was done about it, what was answered. */
export const Row = memo(function Row({ turn, index, place, size, measure }: RowProps): ReactElement {
  const answer = `answer:${turn.runId}`;
  // The library hears of a message a moment after its row is there; until then the row is as large as it will be.
  const there = useAuiState((state) => state.thread.messages.some(({ id }) => id === answer));
  const store = useContext(Store);
  const unanswered = turn.view === null && turn.answered.length === 0;
  useEffect(() => {
    // It failed or was stopped, which only its log tells: a question without a word under it would be a riddle.
    if (unanswered && store !== null) void store.recall(turn.runId);
  }, [unanswered, store, turn.runId]);
  return (
    <article
      className="turn"
      ref={measure}
      data-index={index}
      style={there ? undefined : { minHeight: size }}
      aria-posinset={place?.[0]}
      aria-setsize={place?.[1] ?? -1}
      aria-label={turn.asked[0]?.content.slice(0, 80) ?? "A turn"}
    >
      {messagesOf(turn).map(({ id }) => (
        <ThreadPrimitive.Unstable_MessageById key={id} messageId={id!} components={COMPONENTS} />
      ))}
    </article>
  );
});

const COMPONENTS = { UserMessage, AssistantMessage, UserEditComposer: Editor };

function UserMessage(): ReactElement {
  return (
    <MessagePrimitive.Root className="message user">
      <div className="said">
        <MessagePrimitive.Attachments>{() => <Attached />}</MessagePrimitive.Attachments>
        <MessagePrimitive.Parts />
      </div>
      <ActionBarPrimitive.Root className="actions" hideWhenRunning>
        <ActionBarPrimitive.Edit className="icon-button" aria-label="Edit and send again">
          <Pencil aria-hidden size={14} />
        </ActionBarPrimitive.Edit>
      </ActionBarPrimitive.Root>
    </MessagePrimitive.Root>
  );
}

function Editor(): ReactElement {
  return (
    <ComposerPrimitive.Root className="message user editor">
      <ComposerPrimitive.Input aria-label="Edited message" autoFocus />
      <div className="row">
        <ComposerPrimitive.Cancel className="quiet">Cancel</ComposerPrimitive.Cancel>
        <ComposerPrimitive.Send>Send</ComposerPrimitive.Send>
      </div>
    </ComposerPrimitive.Root>
  );
}

function AssistantMessage(): ReactElement {
  const store = useContext(Store);
  const { runId } = useAuiState((state) => state.message.metadata.custom as { runId: string });
  const view = store?.view(runId) ?? null;
  return (
    <MessagePrimitive.Root className="message assistant">
      {store !== null && <Timeline view={view} store={store} runId={runId} />}
      <MessagePrimitive.Parts components={{ Text: Answer }} />
      {view !== null && <Ending view={view} />}
      <ActionBarPrimitive.Root className="actions" hideWhenRunning>
        <ActionBarPrimitive.Copy className="icon-button" aria-label="Copy">
          <AuiIf condition={(state) => state.message.isCopied}>
            <Check aria-hidden size={14} />
          </AuiIf>
          <AuiIf condition={(state) => !state.message.isCopied}>
            <Copy aria-hidden size={14} />
          </AuiIf>
        </ActionBarPrimitive.Copy>
        <ActionBarPrimitive.Reload className="icon-button" aria-label="Ask again">
          <RefreshCw aria-hidden size={14} />
        </ActionBarPrimitive.Reload>
      </ActionBarPrimitive.Root>
    </MessagePrimitive.Root>
  );
}

function Answer({ text }: { text: string }): ReactElement {
  return (
    <Suspense fallback={<p className="plain">{text}</p>}>
      <Markdown text={text} />
    </Suspense>
  );
}

function Ending({ view }: { view: RunView }): ReactElement | null {
  if (view.state === "cancelled") return <p className="ending">Stopped.</p>;
  if (view.state !== "failed" || view.root?.failure === undefined) return null;
  return (
    <p className="ending failed" role="alert">
      {view.root.failure.message} <code>{view.root.failure.code}</code>
    </p>
  );
}
