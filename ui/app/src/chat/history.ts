/** A thread's stored messages as far as they were read: the newest, and page by page what was said before. */
import { unwrap, type Schemas } from "@netra-apex/client";
import { netra } from "../session/netra";

export type Message = Schemas["MessageShape"];
type Page = Schemas["Listing_MessageShape_"];

/** Of one page. What a screen shows is a tenth of it, so that a reader who scrolls up seldom meets its end. */
const PAGE = 100;

/** Without a gap from some message to the newest; `messages` is another array whenever it has changed. */
export class History {
  messages: readonly Message[] = [];
  #older: string | null = null;
  #reading: Promise<void> = Promise.resolve();

  constructor(readonly threadId: string) {}

  /** Whether there is more before the first one. */
  get more(): boolean {
    return this.#older !== null;
  }

  /** Reads the newest page anew: what was said, edited or replaced since. */
  refresh(): Promise<void> {
    return this.#inTurn(async () => {
      const page = await this.#page(null);
      const newest = page.items.toReversed();
      const first = newest[0]?.message_id;
      const joint = this.messages.findIndex((message) => message.message_id === first);
      if (joint >= 0) {
        this.messages = [...this.messages.slice(0, joint), ...newest];
      } else {
        // Nothing is known of what lies between: the page stands alone.
        this.messages = newest;
        this.#older = page.next_cursor ?? null;
      }
    });
  }

  /** Reads the page before the first message. */
  earlier(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#older === null) return;
      const page = await this.#page(this.#older);
      this.messages = [...page.items.toReversed(), ...this.messages];
      this.#older = page.next_cursor ?? null;
    });
  }

  /** One after another: an answer that came late would put back what is no longer so. */
  #inTurn(read: () => Promise<void>): Promise<void> {
    const reading = this.#reading.then(read, read);
    this.#reading = reading;
    return reading;
  }

  async #page(cursor: string | null): Promise<Page> {
    const query = { order: "desc" as const, limit: PAGE, ...(cursor === null ? {} : { cursor }) };
    const params = { path: { thread_id: this.threadId }, query };
    return unwrap(netra.api.GET("/api/threads/{thread_id}/messages", { params }));
  }
}
