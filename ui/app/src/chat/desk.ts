/** What a login has open: one socket, and the threads that were looked at lately, which stay live. */
import type { Connection, Notice } from "@netra-apex/client";
import { netra } from "../session/netra";
import { ThreadStore } from "./thread";

const KEPT = 20;
const DAY = 24 * 3600;

export class Desk {
  readonly connection: Connection;
  readonly #threads = new Map<string, ThreadStore>();

  constructor(onNotice: (notice: Notice) => void) {
    this.connection = netra.connect({
      patience: DAY,
      onNotice: (notice) => {
        onNotice(notice);
        for (const thread of this.#threads.values()) thread.noticed(notice);
      },
    });
  }

  /** The thread, opened if it is not. */
  thread(threadId: string): ThreadStore {
    const known = this.#threads.get(threadId) ?? new ThreadStore(threadId, this.connection);
    this.#threads.delete(threadId); // The one last looked at is the last to go.
    this.#threads.set(threadId, known);
    for (const [oldest, store] of this.#threads) {
      if (this.#threads.size <= KEPT) break;
      store.close();
      this.#threads.delete(oldest);
    }
    return known;
  }

  close(): void {
    for (const thread of this.#threads.values()) thread.close();
    this.connection.close();
  }
}
