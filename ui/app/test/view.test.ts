import type { DurableEvent, Frame } from "@netra-apex/client";
import { expect, test } from "vitest";
import { RunView, type Call } from "../src/run/view";

let seq = 0;
function event<T extends DurableEvent["type"]>(
  type: T,
  fields: Omit<Extract<DurableEvent, { type: T }>, "type" | "seq" | "run_id" | "thread_id" | "agent" | "depth" | "at">,
  header: { agent?: string; depth?: number } = {},
): Frame {
  seq += 1;
  const at = "2026-01-01T00:00:00.000Z";
  return { type, seq, run_id: "run_1", thread_id: "thr_1", agent: "boss", depth: 0, at, ...header, ...fields } as unknown as Frame;
}
const usage = { input_tokens: 1, output_tokens: 1, requests: 1, cost_usd: null };

function told(...frames: Frame[]): RunView {
  const view = new RunView("run_1");
  for (const frame of frames) view.take(frame);
  return view;
}

test("a run that waits for its turn says why, until it begins", () => {
  const view = told(event("run_queued", { reason: "3 of your runs are at work" }));
  expect([view.state, view.queued]).toEqual(["queued", "3 of your runs are at work"]);
  view.take(event("agent_started", { task: "hi" }));
  expect(view.state).toBe("running");
});

test("a member's events stand under the call that handed it its work", () => {
  const under = { agent: "member", depth: 1 };
  const view = told(
    event("agent_started", { task: "hi" }),
    event("tool_executing", { call_id: "call_1", tool: "delegate_member", arguments: { task: "part" } }),
    event("agent_started", { task: "part", parent_call_id: "call_1" }, under),
    event("agent_thinking", { text: "Looking.", step: 1, parent_call_id: "call_1" }, under),
    event("agent_completed", { output: "x", usage, duration_ms: 5, parent_call_id: "call_1" }, under),
    event("tool_completed", { call_id: "call_1", tool: "delegate_member", ok: true, result: "x", duration_ms: 6 }),
  );
  const call = view.root?.items[0] as Call;
  expect(call.state).toBe("done");
  expect(call.member).toMatchObject({ agent: "member", state: "completed", items: [{ kind: "thought" }] });
  expect(view.ended).toBe(false);
});

test("a run waits while a call waits for its user, and goes on when he has decided", () => {
  const asked = { approval_id: "apr_1", call_id: "call_1", tool: "pay", arguments: {}, expires_at: "2027" };
  const view = told(
    event("agent_started", { task: "hi" }),
    event("tool_executing", { call_id: "call_1", tool: "pay", arguments: {} }),
    event("approval_requested", asked),
  );
  expect([view.state, view.waiting.length]).toEqual(["waiting", 1]);
  view.take(event("approval_decided", { approval_id: "apr_1", decision: "approve", by: "ada" }));
  expect([view.state, view.waiting.length]).toEqual(["running", 0]);
});

test("a text grows, is void after a reset, and is whole when it is stored", () => {
  const piece = { run_id: "run_1", message_id: "msg_1", agent: "boss", depth: 0, parent_call_id: null, attempt: 1 };
  const view = told(
    event("agent_started", { task: "hi" }),
    { type: "message_delta", ...piece, offset: 0, text: "Hel" },
    { type: "message_reset", ...piece, attempt: 2 },
    { type: "message_delta", ...piece, attempt: 2, offset: 0, text: "Hello" },
  );
  expect(view.texts).toEqual([{ messageId: "msg_1", text: "Hello", whole: false }]);
  view.take(event("message_completed", { message_id: "msg_1", content: "Hello!" }));
  expect(view.texts).toEqual([{ messageId: "msg_1", text: "Hello!", whole: true }]);
});

test("an agent that is started again when its run was taken up is the same agent", () => {
  const view = told(
    event("agent_started", { task: "hi" }),
    event("agent_thinking", { text: "One.", step: 1 }),
    event("agent_started", { task: "hi" }),
  );
  expect(view.root?.items).toHaveLength(1);
});

test("a run waits while a question waits for its answer", () => {
  const view = told(
    event("agent_started", { task: "hi" }),
    event("tool_executing", { call_id: "call_1", tool: "ask_user", arguments: { text: "Which month?" } }),
    event("question_asked", { question_id: "que_1", call_id: "call_1", text: "Which month?" }),
  );
  expect([view.state, view.waiting[0]?.question?.text]).toEqual(["waiting", "Which month?"]);
  view.take(event("question_answered", { question_id: "que_1", content: "May" }));
  expect([view.state, view.waiting]).toEqual(["running", []]);
});
