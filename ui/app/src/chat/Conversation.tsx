import {
  AssistantRuntimeProvider,
  AttachmentPrimitive,
  AuiIf,
  ComposerPrimitive,
  ThreadPrimitive,
  useExternalStoreRuntime,
  type AppendMessage,
  type ExternalThreadQueueAdapter,
  type ThreadMessageLike,
} from "@assistant-ui/react";
import { useQueryClient } from "@tanstack/react-query";
import { ArrowDown, Paperclip, Send, Square, X } from "lucide-react";
import { useCallback, useEffect, useMemo, useRef, useSyncExternalStore, type ReactElement } from "react";
import { Announcer } from "./Announcer";
import { ThreadFiles } from "./files";
import { KeptFiles } from "./KeptFiles";
import { Row, Store } from "./Row";
import { messagesOf, type ThreadStore } from "./thread";
import { useRows, type Rows } from "./rows";

/** So many turns before the first one that is known, what was said earlier is read. */
const AHEAD = 12;

/** One thread, live. Of a long one, only what is near the screen is in the page. */
export function Conversation({ store }: { store: ThreadStore }): ReactElement {
  const version = useSyncExternalStore(store.subscribe, store.snapshot);
  const { turns } = store;
  const viewport = useRef<HTMLDivElement>(null);
  const rows = useRows(viewport, turns);
  const items = rows.getVirtualItems();
  const first = items[0]?.index ?? 0;
  const last = items.at(-1)?.index ?? -1;

  useEffect(() => {
    if (first < AHEAD && store.more) void store.earlier();
  }, [store, first < AHEAD, turns]);

  // A run that has ended has used something, and may have given the thread its title, or written a file.
  const queries = useQueryClient();
  const active = store.active.length;
  useEffect(() => {
    void queries.invalidateQueries({ queryKey: ["usage"] });
    void queries.invalidateQueries({ queryKey: ["threads"] });
    void queries.invalidateQueries({ queryKey: ["files", store.threadId] });
  }, [queries, active, store]);

  // The library looks at each message whenever one changes: it is given those that are shown.
  const shown = useMemo(
    () => turns.slice(first, last + 1).flatMap((turn) => messagesOf(turn)),
    [turns, first, last, version],
  );
  const files = useMemo(() => new ThreadFiles(store.threadId), [store]);
  const runtime = useExternalStoreRuntime<ThreadMessageLike>({
    messages: shown,
    isLoading: store.loading,
    isRunning: store.active.length > 0,
    convertMessage: same,
    onNew: (message) => store.send(textOf(message), withFiles(message)),
    onEdit: (message) => store.send(textOf(message), replacing(message.sourceId)),
    onReload: (parentId) => again(store, parentId),
    onCancel: () => store.cancel(),
    queue: useMemo(() => queueOf(store, rows), [store, rows]),
    adapters: { attachments: files },
  });
  const toEnd = useCallback(() => rows.scrollToEnd({ behavior: "smooth" }), [rows]);
  return (
    <Store value={store}>
      <AssistantRuntimeProvider runtime={runtime}>
        <ThreadPrimitive.Root className="thread">
          <div className="viewport" ref={viewport} tabIndex={0} role="region" aria-label="Conversation">
            <div className="messages" role="feed" aria-busy={store.loading} ref={rows.containerRef}>
              {store.more && <p className="earlier">Reading what was said before…</p>}
              {items.map(({ key, index, size }) => (
                <Row
                  key={String(key)}
                  turn={turns[index]!}
                  index={index}
                  place={store.more ? null : [index + 1, turns.length]}
                  size={size}
                  measure={rows.measureElement}
                />
              ))}
            </div>
          </div>
          {!rows.isAtEnd(200) && turns.length > 0 && (
            <button type="button" className="icon-button to-bottom" aria-label="Scroll to the newest" onClick={toEnd}>
              <ArrowDown aria-hidden size={16} />
            </button>
          )}
          {store.problem !== null && (
            <p className="problem" role="alert">
              {store.problem}
            </p>
          )}
          <KeptFiles threadId={store.threadId} />
          <Composer />
        </ThreadPrimitive.Root>
        <Announcer store={store} />
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
          <Square aria-hidden size={14} fill="currentColor" />
        </ComposerPrimitive.Cancel>
      </AuiIf>
      <AuiIf condition={(state) => !state.thread.isRunning || !state.composer.isEmpty}>
        <ComposerPrimitive.Send className="icon-button" aria-label="Send">
          <Send aria-hidden size={16} />
        </ComposerPrimitive.Send>
      </AuiIf>
    </ComposerPrimitive.Root>
  );
}

/** A file that goes, or went, with a message. */
export function Attached({ removable = false }: { removable?: boolean }): ReactElement {
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

/** The server keeps the queue: what is sent while a run is under way waits there, and is shown in its place. */
function queueOf(store: ThreadStore, rows: Rows): ExternalThreadQueueAdapter {
  const send = (message: AppendMessage): void => {
    rows.scrollToEnd();
    void store.send(textOf(message), withFiles(message));
  };
  const none = (): void => undefined;
  return { items: [], steerItems: [], enqueue: send, steer: send, move: none, edit: none, remove: none };
}

function same(message: ThreadMessageLike): ThreadMessageLike {
  return message;
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

async function again(store: ThreadStore, parentId: string | null): Promise<void> {
  const asked = store.turns.flatMap((turn) => turn.asked).find((message) => message.message_id === parentId);
  if (asked !== undefined) await store.send(asked.content, { replace: asked.message_id });
}
