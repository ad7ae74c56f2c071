/** What a frame means to somebody who follows a run: a machine without I/O. */
import { StreamBroken } from "./errors.js";
import type {
  AgentCancelled,
  AgentCompleted,
  AgentFailed,
  DurableEvent,
  MessageCompleted,
  MessageDelta,
  MessageReset,
  PassingFrame,
  ThinkingDelta,
} from "./events.js";

export type Ending = AgentCompleted | AgentFailed | AgentCancelled;
/** A durable event of a kind that this client does not know, from a newer server: counted and passed on. */
export interface OtherEvent {
  type: "other_event";
  kind: string;
  seq: number;
  run_id: string;
  body: Record<string, unknown>;
}
export type RunFrame = DurableEvent | PassingFrame | OtherEvent;

const ENDINGS: ReadonlySet<string> = new Set(["agent_completed", "agent_failed", "agent_cancelled"]);

/** Whether this event is how its run ended. */
export function isEnding(event: { type: string; depth?: number }): event is Ending {
  return ENDINGS.has(event.type) && event.depth === 0;
}

interface Growing {
  attempt: number;
  text: string;
  /** Its length in Unicode code points, in which offsets count. */
  points: number;
  /** Its deltas do not fit: only `message_completed` can tell it. */
  torn: boolean;
  whole: boolean;
}

/**
 * One followed run: gives each durable event once and in order, and each piece of text once.
 *
 * It keeps two counts. `told` is the last `seq` of this subscription on the wire, where a gap or a duplicate is a
 * breach; `lastSeq` is the last one that the consumer has, below which a replay is dropped. They differ only while a
 * run is told again from an earlier point. A delta that does not fit ends nothing, since the whole text is in the log:
 * its message's further deltas are held back, and `message_completed` tells it.
 */
export class Following {
  ending: Ending | null = null;
  #told: number;
  #endSeq: number | null = null;
  readonly #texts = new Map<string, Growing>();

  constructor(
    readonly runId: string,
    public lastSeq = 0,
  ) {
    this.#told = lastSeq;
  }

  /** The server was asked to tell everything after `after`, over a new socket or again over this one. */
  begin(after: number): void {
    this.#told = after;
  }

  /** What is known of an answer's text so far. */
  text(messageId: string): string {
    return this.#texts.get(`message ${messageId}`)?.text ?? "";
  }

  /**
   * What the consumer gets of this frame: nothing where it has it already.
   *
   * @throws StreamBroken: a gap, a duplicate, or anything after the ending; nothing has changed.
   */
  take(frame: RunFrame): RunFrame[] {
    switch (frame.type) {
      case "message_reset":
        this.#checkOpen(frame);
        return this.#reset(frame);
      case "message_delta":
      case "thinking_delta":
        this.#checkOpen(frame);
        return this.#delta(frame);
      default:
        return this.#event(frame);
    }
  }

  #checkOpen(frame: PassingFrame): void {
    if (this.#endSeq !== null && this.#told >= this.#endSeq) {
      throw new StreamBroken(this.runId, null, null, frame.type);
    }
  }

  #event(event: DurableEvent | OtherEvent): RunFrame[] {
    if (this.#endSeq !== null && event.seq > this.#endSeq) {
      throw new StreamBroken(this.runId, null, event.seq, event.type);
    }
    if (event.seq !== this.#told + 1) {
      throw new StreamBroken(this.runId, this.#told + 1, event.seq, event.type);
    }
    this.#told = event.seq;
    if (event.seq <= this.lastSeq) return [];
    this.lastSeq = event.seq;
    if (event.type === "message_completed") this.#complete(event);
    else if (event.type !== "other_event" && isEnding(event)) {
      this.ending = event;
      this.#endSeq = event.seq;
    }
    return [event];
  }

  #complete(event: MessageCompleted): void {
    const key = `message ${event.message_id}`;
    const attempt = this.#texts.get(key)?.attempt ?? 1;
    const points = length(event.content);
    this.#texts.set(key, { attempt, text: event.content, points, torn: false, whole: true });
  }

  #reset(frame: MessageReset): RunFrame[] {
    const known = this.#texts.get(`message ${frame.message_id}`);
    if (known && (known.whole || frame.attempt < known.attempt)) return [];
    this.#texts.set(`message ${frame.message_id}`, begun(frame.attempt));
    if (this.#texts.has(`thinking ${frame.message_id}`)) {
      this.#texts.set(`thinking ${frame.message_id}`, begun(frame.attempt));
    }
    return [frame];
  }

  #delta(frame: MessageDelta | ThinkingDelta): RunFrame[] {
    const key = `${frame.type === "message_delta" ? "message" : "thinking"} ${frame.message_id}`;
    let known = this.#texts.get(key) ?? begun(frame.attempt);
    this.#texts.set(key, known);
    if (known.whole || frame.attempt < known.attempt) return [];
    let told: RunFrame[] = [];
    if (frame.attempt > known.attempt) {
      // The reset itself was missed, while the socket was away: the consumer must hear that its text is void.
      const { run_id, message_id, attempt, agent, depth, parent_call_id } = frame;
      told = this.#reset({ type: "message_reset", run_id, message_id, attempt, agent, depth, parent_call_id });
      known = begun(frame.attempt);
      this.#texts.set(key, known);
    }
    return [...told, ...grow(known, frame)];
  }
}

function begun(attempt: number): Growing {
  return { attempt, text: "", points: 0, torn: false, whole: false };
}

function grow(known: Growing, frame: MessageDelta | ThinkingDelta): RunFrame[] {
  if (known.torn) return [];
  // One delta from offset 0 tells one who came late the text so far: he may have the beginning of it.
  const toldAgain = frame.offset === 0 && frame.text.startsWith(known.text);
  if (frame.offset !== known.points && !toldAgain) {
    known.torn = true;
    return [];
  }
  const fresh = toldAgain ? frame.text.slice(known.text.length) : frame.text;
  if (!fresh) return [];
  const offset = known.points;
  known.text += fresh;
  known.points += length(fresh);
  return [{ ...frame, offset, text: fresh }];
}

/** A text's length in Unicode code points. */
function length(text: string): number {
  let points = 0;
  for (const _ of text) points += 1;
  return points;
}
