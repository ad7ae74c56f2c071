import { expect, test } from "vitest";
import { StreamBroken } from "../src/errors.js";
import type { AgentCompleted, AgentThinking, MessageDelta } from "../src/events.js";
import { Following } from "../src/following.js";

const header = { run_id: "run_1", thread_id: "thr_1", agent: "a", depth: 0, at: "2026-01-01T00:00:00.000Z" };
const thought = (seq: number): AgentThinking => ({ ...header, type: "agent_thinking", seq, text: "…", step: seq });
const usage = { input_tokens: 0, output_tokens: 0, requests: 0, cost_usd: null };
const end = (seq: number): AgentCompleted => ({
  ...header,
  type: "agent_completed",
  seq,
  output: "done",
  usage,
  duration_ms: 1,
});
const delta = (offset: number, text: string, attempt = 1): MessageDelta => ({
  type: "message_delta",
  run_id: "run_1",
  message_id: "msg_1",
  agent: "a",
  depth: 0,
  parent_call_id: null,
  attempt,
  offset,
  text,
});

test("an event that is replayed over a new socket is told once", () => {
  const run = new Following("run_1");
  expect(run.take(thought(1))).toHaveLength(1);
  run.begin(0);
  expect(run.take(thought(1))).toHaveLength(0);
  expect(run.take(thought(2))).toHaveLength(1);
  expect(run.lastSeq).toBe(2);
});

test("a gap, a duplicate and what follows an ending break the stream", () => {
  const run = new Following("run_1");
  expect(() => run.take(thought(2))).toThrow(StreamBroken);
  run.take(thought(1));
  expect(() => run.take(thought(1))).toThrow(StreamBroken);
  run.take(end(2));
  expect(run.ending).toMatchObject({ output: "done" });
  expect(() => run.take(thought(3))).toThrow(StreamBroken);
  expect(() => run.take(delta(0, "late"))).toThrow(StreamBroken);
});

test("an ending of a member is not the run's", () => {
  const run = new Following("run_1");
  run.take({ ...end(1), depth: 1 });
  expect(run.ending).toBeNull();
});

test("offsets count code points, not UTF-16 units", () => {
  const run = new Following("run_1");
  expect(run.take(delta(0, "🙂é"))).toHaveLength(1);
  expect(run.take(delta(2, "!"))).toHaveLength(1);
  expect(run.text("msg_1")).toBe("🙂é!");
});

test("one delta from offset 0 tells who came back only what he lacks", () => {
  const run = new Following("run_1");
  run.take(delta(0, "Hello"));
  run.begin(0);
  expect(run.take(delta(0, "Hello, world"))).toMatchObject([{ offset: 5, text: ", world" }]);
});

test("a delta that does not fit is held back until the whole message comes", () => {
  const run = new Following("run_1");
  run.take(delta(0, "Hel"));
  expect(run.take(delta(4, "o"))).toHaveLength(0);
  run.take({ ...header, type: "message_completed", seq: 1, message_id: "msg_1", content: "Hello" });
  expect(run.text("msg_1")).toBe("Hello");
});

test("a later attempt whose reset was missed makes the text void first", () => {
  const run = new Following("run_1");
  run.take(delta(0, "old"));
  const told = run.take(delta(0, "new", 2));
  expect(told.map((frame) => frame.type)).toEqual(["message_reset", "message_delta"]);
  expect(run.text("msg_1")).toBe("new");
});
