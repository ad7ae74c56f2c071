/** A thread as the page has it: its stored messages, and the runs that are under way in it. */
import {
  Connection,
  RequestRefused,
  unwrap,
  type LiveRun,
  type MessageOptions,
  type Notice,
  type Schemas,
} from "@netra-apex/client";
import { RunView } from "../run/view";
import { netra } from "../session/netra";

export type Message = Schemas["MessageShape"];

/** What somebody sees of a run: what was asked, and the view of what is done about it. */
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
  readonly #messages: Message[] = [];
  readonly #views = new Map<string, RunView>();
  readonly #listeners = new Set<() => void>();
  #scheduled = 0;
  #unwatch: (() => void) | null = null;
  #closed = false;

  constructor(
    readonly threadId: string,
    readonly connection: Connection,
  ) {
    void this.#open();
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly snapshot = (): number => this.version;

  /** The turns of the conversation, oldest first. */
  get turns(): Turn[] {
    const turns = new Map<string, Turn>();
    const turn = (runId: string): Turn => {
      const known = turns.get(runId);
      if (known !== undefined) return known;
      const begun: Turn = { runId, asked: [], answered: [], view: this.#views.get(runId) ?? null };
      turns.set(runId, begun);
      return begun;
    };
    for (const message of this.#messages) {
      const { asked, answered } = turn(message.run_id);
      (message.role === "user" ? asked : answered).push(message);
    }
    for (const runId of this.#views.keys()) turn(runId);
    return [...turns.values()];
  }

  /** The runs that have not ended. */
  get active(): RunView[] {
    return [...this.#views.values()].filter((view) => !view.ended);
  }

  async send(content: string, options: MessageOptions = {}): Promise<void> {
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
    this.#changed();
  }

  /** The socket is back: what was said meanwhile in runs that this page never heard of is among the messages. */
  noticed(notice: Notice): void {
    if (notice.type === "reconnected") void this.#load();
  }

  close(): void {
    this.#closed = true;
    this.#unwatch?.();
    cancelAnimationFrame(this.#scheduled);
  }

  async #open(): Promise<void> {
    try {
      const unwatch = await this.connection.watch(this.threadId, (run) => this.#follow(run));
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
    const messages: Message[] = [];
    let cursor: string | null = null;
    do {
      const query: { limit: number; cursor?: string } = { limit: 200, ...(cursor === null ? {} : { cursor }) };
      const params = { path: { thread_id: this.threadId }, query };
      const page: Schemas["Listing_MessageShape_"] = await unwrap(
        netra.api.GET("/api/threads/{thread_id}/messages", { params }),
      );
      messages.push(...page.items);
      cursor = page.next_cursor ?? null;
    } while (cursor !== null);
    this.#messages.splice(0, Infinity, ...messages);
    this.#changed();
  }

  #follow(run: LiveRun): void {
    if (this.#views.has(run.runId)) return;
    const view = new RunView(run.runId);
    this.#views.set(run.runId, view);
    void this.#read(run, view);
  }

  async #read(run: LiveRun, view: RunView): Promise<void> {
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
