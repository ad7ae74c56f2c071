/** What a run of anybody's told, read as its owner, event by event; live until it ends. */
import type { DurableEvent } from "@netra-apex/client";

const AGAIN_MS = 1000;
const ENDINGS = new Set(["agent_completed", "agent_failed", "agent_cancelled"]);

/** Follows one run. Each opening is a row in the audit, so that a run that has ended is not asked for again. */
export class Told {
  events: DurableEvent[] = [];
  away = false;
  version = 0;
  readonly #listeners = new Set<() => void>();
  #source: EventSource | null = null;
  #again: ReturnType<typeof setTimeout> | undefined;

  constructor(readonly runId: string) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly snapshot = (): number => this.version;

  get ended(): boolean {
    const last = this.events.at(-1);
    return last !== undefined && last.depth === 0 && ENDINGS.has(last.type);
  }

  open(): void {
    const url = new URL(`api/admin/runs/${encodeURIComponent(this.runId)}/events`, document.baseURI);
    url.searchParams.set("after", String(this.events.at(-1)?.seq ?? 0));
    const source = new EventSource(url);
    this.#source = source;
    source.onopen = () => this.#changed({ away: false });
    source.onmessage = (message: MessageEvent<string>) => {
      const event = JSON.parse(message.data) as DurableEvent;
      // Passing pieces of text have no number, and come whole with their event.
      if (typeof event.seq !== "number" || event.seq <= (this.events.at(-1)?.seq ?? 0)) return;
      this.events = [...this.events, event];
      if (this.ended) source.close();
      this.#changed({});
    };
    source.onerror = () => {
      source.close();
      if (this.ended) return;
      this.#changed({ away: true });
      this.#again = setTimeout(() => this.open(), AGAIN_MS);
    };
  }

  close(): void {
    this.#source?.close();
    clearTimeout(this.#again);
  }

  #changed(what: { away?: boolean }): void {
    Object.assign(this, what);
    this.version += 1;
    for (const listener of this.#listeners) listener();
  }
}
