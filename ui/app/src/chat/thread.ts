/** A thread as the page has it: its stored messages, and the runs that are under way in it. */
import type { ThreadMessageLike } from "@assistant-ui/react";
import {
  Connection,
  RequestRefused,
  type LiveRun,
  type MessageOptions,
  type Notice,
} from "@netra-apex/client";
import { RunView } from "../run/view";
import { netra } from "../session/netra";
import { History, type Message } from "./history";

/** What somebody sees of a run: what was asked, and the view of what is done about it. The same one until it changes. */
export interface Turn {
  runId: string;
  asked: Message[];
  answered: Message[];
  view: RunView | null;
}

/**
 * One thread over one connection. It changes in place and tells its listeners at most once a frame of the screen: a
 * hundred pieces of text a second must cost no more than sixty renderings.
 */
export class ThreadStore {
  version = 0;
  loading = true;
  problem: string | null = null;
  /** What was said aloud of which run: nothing is said twice. */
  readonly announced = new Map<string, string>();
  readonly #history: History;
  readonly #views = new Map<string, RunView>();
  readonly #listeners = new Set<() => void>();
  #turns: readonly Turn[] | null = null;
  #scheduled = 0;
  #unwatch: (() => void) | null = null;
  #closed = false;

  constructor(
    readonly threadId: string,
    readonly connection: Connection,
  ) {
    this.#history = new History(threadId);
    void this.#open();
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly snapshot = (): number => this.version;

  /** The turns of the conversation that were read, oldest first; another array whenever one has come or gone. */
  get turns(): readonly Turn[] {
    this.#turns ??= this.#inTurns();
    return this.#turns;
  }

  /** What is known of what a run did. */
  view(runId: string): RunView | null {
    return this.#views.get(runId) ?? null;
  }

  /** The run that began last, of those that were live here. */
  get latest(): RunView | null {
    return [...this.#views.values()].findLast((view) => view.live) ?? null;
  }

  /** Whether more was said before the first turn. */
  get more(): boolean {
    return this.#history.more;
  }

  /** Reads on, towards the beginning. */
  async earlier(): Promise<void> {
    if (this.loading) return;
    this.loading = true;
    this.#changed();
    await this.#read(() => this.#history.earlier());
    this.loading = false;
    this.#changed();
  }

  /** The runs that have not ended. */
  get active(): RunView[] {
    return [...this.#views.values()].filter((view) => !view.ended);
  }

  async send(content: string, options: MessageOptions = {}): Promise<void> {
    this.problem = null;
    try {
      this.#follow(await this.connection.send(content, { ...options, threadId: this.threadId }));
      await this.#load();
    } catch (error) {
      this.#failed(error);
    }
  }

  async cancel(): Promise<void> {
    const active = this.active.map((view) => this.connection.cancel(view.runId));
    await Promise.all(active).catch((error: unknown) => this.#failed(error));
  }

  async decide(approvalId: string, decision: "approve" | "reject", note?: string): Promise<void> {
    await this.connection.decide(approvalId, decision, note).catch((error: unknown) => this.#failed(error));
  }

  async answer(questionId: string, content: string): Promise<void> {
    await this.connection.answer(questionId, content).catch((error: unknown) => this.#failed(error));
  }

  /** Takes over a run that was begun before the thread was opened, and perhaps is over. */
  begin(run: LiveRun): void {
    this.#follow(run);
  }

  /** What a past run did, read from its log. */
  async recall(runId: string): Promise<void> {
    if (this.#views.has(runId)) return;
    const view = new RunView(runId);
    try {
      for (const event of await netra.events(runId)) view.take(event);
    } catch (error) {
      this.#failed(error);
      return;
    }
    this.#views.set(runId, view);
    this.#turns = null;
    this.#changed();
  }

  /** The socket is back: what was said meanwhile in runs that this page never heard of is among the messages. */
  noticed(notice: Notice): void {
    if (notice.type !== "reconnected") return;
    this.problem = null;
    void this.#load();
  }

  close(): void {
    this.#closed = true;
    this.#unwatch?.();
    cancelAnimationFrame(this.#scheduled);
  }

  async #open(): Promise<void> {
    try {
      const unwatch = await this.connection.watch(this.threadId, (run) => {
        // Perhaps asked elsewhere: the question is among the messages.
        if (this.#follow(run) && !this.loading) void this.#load();
      });
      if (this.#closed) unwatch();
      this.#unwatch = unwatch;
      await this.#load();
    } catch (error) {
      this.#failed(error);
    }
    this.loading = false;
    this.#changed();
  }

  async #load(): Promise<void> {
    const over = [...this.#views.values()].filter((view) => view.ended);
    await this.#read(() => this.#history.refresh());
    // An edited message took the place of others: their runs are no part of the conversation any more.
    const told = new Set(this.#history.messages.map((message) => message.run_id));
    for (const { runId } of over) if (!told.has(runId)) this.#views.delete(runId);
    this.#turns = null;
    this.#changed();
  }

  async #read(reading: () => Promise<void>): Promise<void> {
    try {
      await reading();
      this.#turns = null;
    } catch (error) {
      this.#failed(error);
    }
  }

  #inTurns(): Turn[] {
    const turns = new Map<string, Turn>();
    const turn = (runId: string): Turn => {
      const known = turns.get(runId);
      if (known !== undefined) return known;
      const begun: Turn = { runId, asked: [], answered: [], view: this.view(runId) };
      turns.set(runId, begun);
      return begun;
    };
    for (const message of this.#history.messages) {
      const { asked, answered } = turn(message.run_id);
      (message.role === "user" ? asked : answered).push(message);
    }
    for (const runId of this.#views.keys()) turn(runId);
    return [...turns.values()];
  }

  /** Whether it is a run that was not followed yet. */
  #follow(run: LiveRun): boolean {
    if (this.#views.has(run.runId)) return false;
    const view = new RunView(run.runId, true);
    this.#views.set(run.runId, view);
    this.#turns = null;
    this.#changed();
    void this.#watch(run, view);
    return true;
  }

  async #watch(run: LiveRun, view: RunView): Promise<void> {
    try {
      for await (const frame of run) {
        view.take(frame);
        this.#changed();
      }
      if (!this.#closed) await this.#load();
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    if (this.#closed) return;
    this.problem = error instanceof RequestRefused ? error.reason : String(error);
    this.#changed();
  }

  #changed(): void {
    this.version += 1;
    if (this.#scheduled !== 0 || this.#closed) return;
    this.#scheduled = requestAnimationFrame(() => {
      this.#scheduled = 0;
      for (const listener of this.#listeners) listener();
    });
  }
}

const CONVERTED = new WeakMap<Turn, { version: number; messages: ThreadMessageLike[] }>();

/** A turn as the chat library has it. The same values until something has changed: it draws anew what is another. */
export function messagesOf(turn: Turn): ThreadMessageLike[] {
  const version = turn.view?.version ?? 0;
  const known = CONVERTED.get(turn);
  if (known?.version === version) return known.messages;
  const asked = known?.messages.slice(0, -1) ?? turn.asked.map(question);
  const messages = [...asked, answer(turn, version)];
  CONVERTED.set(turn, { version, messages });
  return messages;
}

function question(message: Message): ThreadMessageLike {
  return {
    id: message.message_id,
    role: "user",
    content: message.content,
    createdAt: new Date(message.created_at),
    attachments: message.files.map(({ file_id: id, name }) => {
      return { id, name, type: "document", content: [], status: { type: "complete" } };
    }),
  };
}

function answer({ runId, answered, view }: Turn, version: number): ThreadMessageLike {
  const stored = new Set(answered.map((message) => message.message_id));
  const growing = view?.texts.filter((text) => !stored.has(text.messageId)).map(({ text }) => text) ?? [];
  const text = [...answered.map((message) => message.content), ...growing].filter(Boolean).join("\n\n");
  const running = view !== null && !view.ended;
  return {
    id: `answer:${runId}`,
    role: "assistant",
    content: text ? [{ type: "text", text }] : [],
    status: running ? { type: "running" } : { type: "complete", reason: "stop" },
    // The version makes the message another one for the library when its run has told more than text.
    metadata: { custom: { runId, version } },
  };
}
