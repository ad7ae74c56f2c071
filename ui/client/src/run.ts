/** A run as its consumer sees it: `for await (const frame of run)`, which ends with the run. */
import { StreamBroken, type ClientError } from "./errors.js";
import { Following, type Ending, type RunFrame } from "./following.js";

/** A notice: the socket was lost and the client is on its way back, or is back, after so many seconds. */
export type Notice = { type: "reconnecting"; reason: string } | { type: "reconnected"; seconds: number };
export type Frame = RunFrame | Notice;

/** Gives each event once, in order, until the run has ended. Iterating throws what ended the connection or stream. */
export class LiveRun implements AsyncIterable<Frame> {
  readonly #frames: Frame[] = [];
  #wake: (() => void) | null = null;
  #error: ClientError | null = null;

  /** `messageId` is the user's message that it answers, where this connection sent it. */
  constructor(
    readonly following: Following,
    readonly threadId: string | null = null,
    readonly messageId: string | null = null,
  ) {}

  get runId(): string {
    return this.following.runId;
  }

  /** The last durable event that arrived. */
  get lastSeq(): number {
    return this.following.lastSeq;
  }

  /** How the run ended; null while it goes on. */
  get ending(): Ending | null {
    return this.following.ending;
  }

  /** Whether more is to come. */
  get active(): boolean {
    return this.ending === null && this.#error === null;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Frame, void, void> {
    for (;;) {
      const frame = this.#frames.shift();
      if (frame !== undefined) {
        yield frame;
      } else if (this.ending !== null) {
        return;
      } else if (this.#error !== null) {
        throw this.#error;
      } else {
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    }
  }

  /** Reads on to the end, and gives it. */
  async ended(): Promise<Ending> {
    for await (const _ of this);
    if (this.ending === null) throw new StreamBroken(this.runId, null, null, "nothing");
    return this.ending;
  }

  /** What the connection calls with each frame of the run. */
  told(frame: RunFrame): void {
    try {
      this.#put(...this.following.take(frame));
    } catch (error) {
      if (!(error instanceof StreamBroken)) throw error;
      this.failed(error);
    }
  }

  /** What the connection calls when it was lost and when it is back. */
  noticed(notice: Notice): void {
    this.#put(notice);
  }

  /** Ends the iteration with an error, once what came before it has been read; the first one stays. */
  failed(error: ClientError): void {
    this.#error ??= error;
    this.#put();
  }

  #put(...frames: Frame[]): void {
    this.#frames.push(...frames);
    this.#wake?.();
    this.#wake = null;
  }
}
