/** What arrives on a socket, read into typed values. */
import { ClientError } from "./errors.js";
import type { ServerFrame } from "./events.js";
import type { OtherEvent } from "./following.js";

const ANSWERS = ["connection_established", "message_accepted", "ok", "pong", "error"] as const;
const PASSING = ["message_delta", "thinking_delta", "message_reset"] as const;
const DURABLE = [
  "run_queued",
  "agent_started",
  "agent_thinking",
  "tool_executing",
  "tool_completed",
  "approval_requested",
  "approval_decided",
  "question_asked",
  "question_answered",
  "message_completed",
  "agent_completed",
  "agent_failed",
  "agent_cancelled",
] as const;
type Known = (typeof ANSWERS | typeof PASSING | typeof DURABLE)[number];
const KNOWN: ReadonlySet<string> = new Set<string>([...ANSWERS, ...PASSING, ...DURABLE]);
// The compiler finds the kind that was forgotten above when the schema has a new one, or too many.
const complete: [Exclude<ServerFrame["type"], Known>, Exclude<Known, ServerFrame["type"]>] extends [never, never]
  ? true
  : never = true;
void complete;

/**
 * The frame in `text`; null for a passing frame of a kind that this client does not know.
 *
 * A newer server may tell events that are unknown here, and may add fields: neither may break a stream.
 *
 * @throws ClientError: it is no JSON object with a type.
 */
export function read(text: string): ServerFrame | OtherEvent | null {
  let frame: unknown;
  try {
    frame = JSON.parse(text);
  } catch {
    frame = null;
  }
  if (!isObject(frame) || typeof frame.type !== "string") {
    throw new ClientError("the server sent what is no frame");
  }
  if (KNOWN.has(frame.type)) return frame as unknown as ServerFrame;
  if (typeof frame.seq !== "number" || typeof frame.run_id !== "string") return null;
  return { type: "other_event", kind: frame.type, seq: frame.seq, run_id: frame.run_id, body: frame };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
