/** A run as a person sees it: its agents as a tree, what each thought and called, and the text that grows. */
import type { DurableEvent, Frame, Usage } from "@netra-apex/client";

export type AgentState = "running" | "completed" | "failed" | "cancelled";
export type CallState = "running" | "waiting" | "done" | "failed";

export interface Thought {
  kind: "thought";
  text: string;
}

/** A call waits for its user while its `approval` or its `question` is open. */
export interface Call {
  kind: "call";
  callId: string;
  tool: string;
  arguments: unknown;
  state: CallState;
  result?: unknown;
  error?: { code: string; message: string };
  durationMs?: number;
  approval?: { id: string; expiresAt: string; again: boolean; decision?: string; by?: string };
  question?: { id: string; text: string; answer?: string };
  member?: AgentView;
}

export interface AgentView {
  agent: string;
  depth: number;
  state: AgentState;
  startedAt: string;
  items: (Thought | Call)[];
  output?: unknown;
  usage?: Usage;
  durationMs?: number;
  failure?: { code: string; message: string; retryable: boolean };
}

/** A text of the run's own agent. `whole`: it is stored, and grows no more. */
export interface Text {
  messageId: string;
  text: string;
  whole: boolean;
}

type OfCall = Extract<
  DurableEvent,
  { type: "tool_completed" | "approval_requested" | "approval_decided" | "question_asked" | "question_answered" }
>;

/**
 * Grows with the frames of one run. It changes in place, as a run may tell a hundred pieces a second; `version` counts
 * the changes, by which a reader knows that there is something new.
 */
export class RunView {
  version = 0;
  queued: string | null = null;
  root: AgentView | null = null;
  task: unknown = null;
  /** The socket is away, and the run goes on without this page. */
  away = false;
  readonly texts: Text[] = [];
  readonly #agents = new Map<string, AgentView>();
  readonly #calls = new Map<string, Call>();

  /** `live`: it is followed as it happens, not read from its log afterwards. */
  constructor(
    readonly runId: string,
    readonly live = false,
  ) {}

  get state(): "queued" | "waiting" | AgentState {
    if (this.root === null) return "queued";
    if (this.root.state !== "running") return this.root.state;
    return this.waiting.length > 0 ? "waiting" : "running";
  }

  get ended(): boolean {
    return this.root !== null && this.root.state !== "running";
  }

  /** Calls that wait for the user: for his word, or for his answer. */
  get waiting(): Call[] {
    return [...this.#calls.values()].filter((call) => call.state === "waiting");
  }

  /** Takes what a `LiveRun` gives, in its order. */
  take(frame: Frame): void {
    this.version += 1;
    switch (frame.type) {
      case "reconnecting":
        this.away = true;
        break;
      case "reconnected":
        this.away = false;
        break;
      case "message_delta":
        if (frame.depth === 0) this.#text(frame.message_id).text += frame.text;
        break;
      case "message_reset":
        if (frame.depth === 0) this.#text(frame.message_id).text = "";
        break;
      case "thinking_delta":
      case "other_event":
        break;
      default:
        this.#event(frame);
    }
  }

  #event(event: DurableEvent): void {
    const agent = this.#agents.get(event.parent_call_id ?? "");
    switch (event.type) {
      case "run_queued":
        this.queued = event.reason;
        break;
      case "agent_started":
        this.#started(event.parent_call_id ?? "", event.agent, event.depth, event.at);
        if (event.depth === 0) this.task = event.task;
        break;
      case "agent_thinking":
        agent?.items.push({ kind: "thought", text: event.text });
        break;
      case "tool_executing": {
        const { call_id: callId, tool, arguments: args } = event;
        const call: Call = { kind: "call", callId, tool, arguments: args, state: "running" };
        this.#calls.set(callId, call);
        agent?.items.push(call);
        break;
      }
      case "message_completed":
        if (event.depth === 0) Object.assign(this.#text(event.message_id), { text: event.content, whole: true });
        break;
      case "agent_completed":
        Object.assign(agent ?? {}, { state: "completed", output: event.output });
        Object.assign(agent ?? {}, { usage: event.usage, durationMs: event.duration_ms });
        break;
      case "agent_failed": {
        const { code, message, retryable } = event;
        Object.assign(agent ?? {}, { state: "failed", failure: { code, message, retryable } });
        break;
      }
      case "agent_cancelled":
        Object.assign(agent ?? {}, { state: "cancelled" });
        break;
      default:
        this.#ofCall(event);
    }
  }

  #ofCall(event: OfCall): void {
    if (event.type === "approval_decided" || event.type === "question_answered") {
      this.#wentOn(event);
      return;
    }
    const call = this.#calls.get(event.call_id);
    if (call === undefined) return;
    if (event.type === "approval_requested") {
      call.approval = { id: event.approval_id, expiresAt: event.expires_at, again: event.again === true };
      call.state = "waiting";
    } else if (event.type === "question_asked") {
      call.question = { id: event.question_id, text: event.text };
      call.state = "waiting";
    } else {
      call.state = event.ok ? "done" : "failed";
      call.result = event.result;
      call.durationMs = event.duration_ms;
      if (event.error) call.error = event.error;
    }
  }

  #wentOn(event: Extract<OfCall, { type: "approval_decided" | "question_answered" }>): void {
    for (const call of this.#calls.values()) {
      if (event.type === "approval_decided" && call.approval?.id === event.approval_id) {
        Object.assign(call.approval, { decision: event.decision, by: event.by });
        call.state = "running";
      }
      if (event.type === "question_answered" && call.question?.id === event.question_id) {
        call.question.answer = event.content;
        call.state = "running";
      }
    }
  }

  #started(callId: string, agent: string, depth: number, startedAt: string): void {
    if (this.#agents.has(callId)) return; // The run was taken up: it is the same agent.
    const view: AgentView = { agent, depth, state: "running", startedAt, items: [] };
    this.#agents.set(callId, view);
    const call = this.#calls.get(callId);
    if (call !== undefined) call.member = view;
    else this.root ??= view;
  }

  #text(messageId: string): Text {
    let text = this.texts.find((each) => each.messageId === messageId);
    if (text === undefined) {
      text = { messageId, text: "", whole: false };
      this.texts.push(text);
    }
    return text;
  }
}
