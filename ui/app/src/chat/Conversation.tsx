import {
  ActionBarPrimitive,
  AttachmentPrimitive,
  AssistantRuntimeProvider,
  AuiIf,
  ComposerPrimitive,
  MessagePrimitive,
  ThreadPrimitive,
  useAuiState,
  useExternalStoreRuntime,
  type AppendMessage,
  type ThreadMessageLike,
} from "@assistant-ui/react";
import { ArrowDown, Check, Copy, Paperclip, Pencil, RefreshCw, Send, Square, X } from "lucide-react";
import { createContext, lazy, Suspense, useContext, useMemo, useSyncExternalStore, type ReactElement } from "react";
import { Timeline } from "../run/Timeline";
import type { RunView } from "../run/view";
import { ThreadFiles } from "./files";
import type { ThreadStore, Turn } from "./thread";

// Loaded with the first answer, not with the page: it is half of what a browser would have to read.
const Markdown = lazy(() => import("./Markdown"));
const Store = createContext<ThreadStore | null>(null);

/** One thread, live. */
export function Conversation({ store }: { store: ThreadStore }): ReactElement {
  useSyncExternalStore(store.subscribe, store.snapshot);
  const turns = store.turns;
  const files = useMemo(() => new ThreadFiles(store.threadId), [store]);
  const runtime = useExternalStoreRuntime<ThreadMessageLike>({
    messages: turns.flatMap(messagesOf),
    isLoading: store.loading,
    isRunning: store.active.length > 0,
    convertMessage: (message) => message,
    onNew: (message) => store.send(textOf(message), withFiles(message)),
    onEdit: (message) => store.send(textOf(message), replacing(message.sourceId)),
    onReload: (parentId) => again(store, turns, parentId),
    onCancel: () => store.cancel(),
    adapters: { attachments: files },
  });
  return (
    <Store value={store}>
      <AssistantRuntimeProvider runtime={runtime}>
        <ThreadPrimitive.Root className="thread">
          <ThreadPrimitive.Viewport className="viewport">
            <div className="messages" role="log" aria-label="Conversation" aria-live="off">
              <ThreadPrimitive.Messages components={{ UserMessage, AssistantMessage, UserEditComposer: Editor }} />
            </div>
            <ThreadPrimitive.ScrollToBottom className="icon-button to-bottom" aria-label="Scroll to the newest">
              <ArrowDown aria-hidden size={16} />
            </ThreadPrimitive.ScrollToBottom>
          </ThreadPrimitive.Viewport>
          {store.problem !== null && <p role="alert">{store.problem}</p>}
          <Composer />
        </ThreadPrimitive.Root>
      </AssistantRuntimeProvider>
    </Store>
  );
}

function Composer(): ReactElement {
  return (
    <ComposerPrimitive.Root className="composer">
      <div className="attached">
        <ComposerPrimitive.Attachments>{() => <Attached removable />}</ComposerPrimitive.Attachments>
      </div>
      <ComposerPrimitive.AddAttachment className="icon-button quiet" aria-label="Attach a file" multiple>
        <Paperclip aria-hidden size={16} />
      </ComposerPrimitive.AddAttachment>
      <ComposerPrimitive.Input aria-label="Message" placeholder="Ask something" rows={1} autoFocus />
      <AuiIf condition={(state) => state.thread.isRunning}>
        <ComposerPrimitive.Cancel className="icon-button" aria-label="Stop">
          <Square aria-hidden size={16} />
        </ComposerPrimitive.Cancel>
      </AuiIf>
      <AuiIf condition={(state) => !state.thread.isRunning}>
        <ComposerPrimitive.Send className="icon-button" aria-label="Send">
          <Send aria-hidden size={16} />
        </ComposerPrimitive.Send>
      </AuiIf>
    </ComposerPrimitive.Root>
  );
}

function Attached({ removable = false }: { removable?: boolean }): ReactElement {
  return (
    <AttachmentPrimitive.Root className="chip">
      <Paperclip aria-hidden size={12} /> <AttachmentPrimitive.Name />
      {removable && (
        <AttachmentPrimitive.Remove className="icon-button" aria-label="Remove">
          <X aria-hidden size={12} />
        </AttachmentPrimitive.Remove>
      )}
    </AttachmentPrimitive.Root>
  );
}

function UserMessage(): ReactElement {
  return (
    <MessagePrimitive.Root className="message user">
      <MessagePrimitive.Attachments>{() => <Attached />}</MessagePrimitive.Attachments>
      <MessagePrimitive.Parts />
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
      <ComposerPrimitive.Input aria-label="Message" autoFocus />
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
  const view = store?.turns.find((turn) => turn.runId === runId)?.view ?? null;
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

function messagesOf(turn: Turn): ThreadMessageLike[] {
  const asked = turn.asked.map((message): ThreadMessageLike => {
    return {
      id: message.message_id,
      role: "user",
      content: message.content,
      createdAt: new Date(message.created_at),
      attachments: message.files.map(({ file_id: id, name }) => {
        return { id, name, type: "document", content: [], status: { type: "complete" } };
      }),
    };
  });
  const { view, runId } = turn;
  const stored = new Set(turn.answered.map((message) => message.message_id));
  const growing = view?.texts.filter((text) => !stored.has(text.messageId)).map(({ text }) => text) ?? [];
  const text = [...turn.answered.map((message) => message.content), ...growing].filter(Boolean).join("\n\n");
  const running = view !== null && !view.ended;
  return [
    ...asked,
    {
      id: `answer:${runId}`,
      role: "assistant",
      content: text ? [{ type: "text", text }] : [],
      status: running ? { type: "running" } : { type: "complete", reason: "stop" },
      // The version makes the message another one for the library when its run has told more than text.
      metadata: { custom: { runId, version: view?.version ?? 0 } },
    },
  ];
}

function textOf(message: AppendMessage): string {
  return message.content.map((part) => (part.type === "text" ? part.text : "")).join("");
}

function withFiles(message: AppendMessage): { files?: string[] } {
  const files = message.attachments?.map(({ id }) => id) ?? [];
  return files.length > 0 ? { files } : {};
}

function replacing(messageId: string | null): { replace?: string } {
  return messageId === null ? {} : { replace: messageId };
}

async function again(store: ThreadStore, turns: Turn[], parentId: string | null): Promise<void> {
  const asked = turns.flatMap((turn) => turn.asked).find((message) => message.message_id === parentId);
  if (asked !== undefined) await store.send(asked.content, { replace: asked.message_id });
}
