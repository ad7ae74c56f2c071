/** Whether and when a lost socket is worth coming back: a machine without I/O, a clock or chance of its own. */

const FIRST_DELAY = 0.1;
const LONGEST_DELAY = 5;
/** Seconds after which a socket that stayed has done its work. */
export const HELD = 5;
const FINAL = new Set([1003, 1007, 1009]);

/** What to do after a socket has closed: come back, renew the login first, or stay away. */
export type Verdict = "return" | "renew" | "stay away";

/** What a close code (docs/reference/socket.md) asks of a client. */
export function verdict(closeCode: number): Verdict {
  if (closeCode === 4401) return "renew";
  // 4408 is a time-out: of a slow network, not of a wrong client. Other codes of the application are refusals.
  if (FINAL.has(closeCode) || (closeCode >= 4000 && closeCode < 5000 && closeCode !== 4408)) return "stay away";
  return "return";
}

/**
 * Counts the attempts since the last socket that did its work; all times are in seconds.
 *
 * A socket that was established and closed at once is no success, or a server that does this would be called without
 * end: `worked` is told once more than the greeting came, or it held for `HELD` seconds.
 */
export class Comeback {
  #attempts = 0;
  #since: number | null = null;
  #renewed = false;

  constructor(readonly patience: number) {}

  /** The socket does its work: the next loss is a first one. */
  worked(): void {
    this.#attempts = 0;
    this.#since = null;
    this.#renewed = false;
  }

  /** Whether a refused login may be renewed: once, until a socket has worked with it. */
  renew(): boolean {
    const first = !this.#renewed;
    this.#renewed = true;
    return first;
  }

  /**
   * Seconds until the next attempt, or null where patience has run out.
   *
   * Doubles from 0.1 to 5; `chance` (0 to 1) takes off up to half of it, so that the clients of a restarted server do
   * not come back in one moment.
   */
  delay(now: number, chance: number): number | null {
    this.#since ??= now;
    const left = this.#since + this.patience - now;
    if (left <= 0) return null;
    const full = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** this.#attempts);
    this.#attempts += 1;
    return Math.min(full * (1 - chance / 2), left);
  }
}
