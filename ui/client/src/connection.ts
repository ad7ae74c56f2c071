/** A socket that comes back, and what is asked and followed over it as if it had never been away. */
import { Comeback, HELD, verdict } from "./comeback.js";
import { ClientError, ConnectionLost, ConnectionOver, ConnectionRefused, RequestRefused } from "./errors.js";
import type { ConnectionEstablished, MessageAccepted, Ok, ServerFrame } from "./events.js";
import { Following, type OtherEvent, type RunFrame } from "./following.js";
import { read } from "./frames.js";
import { LiveRun, type Notice } from "./run.js";

/** What a message may say besides its text (docs/reference/socket.md). */
export interface MessageOptions {
  threadId?: string;
  agent?: string;
  replace?: string;
  /** Ids of files of the thread that come with it. */
  files?: string[];
  ifBusy?: "enqueue" | "reject" | "interrupt" | "steer";
  idempotencyKey?: string;
}

/** How a connection is made. `patience` is how many seconds without a server it bears. */
export interface ConnectionOptions {
  url: string;
  /** Gives a valid token; `anew` where the last one was refused. Null: the browser's cookie says who it is. */
  token: ((anew: boolean) => Promise<string>) | null;
  /** Renews the cookie's login; rejects where it cannot be renewed. */
  renew?: () => Promise<void>;
  patience?: number;
  webSocket?: typeof WebSocket;
  /** Called with each greeting and each notice, whether a run hears of it or not. */
  onNotice?: (notice: Notice) => void;
}

type ClientFrame = { type: string; id?: string; [field: string]: unknown };
type Settled = MessageAccepted | Ok;
interface Asked {
  frame: ClientFrame;
  /** Called with the answer, before the next frame is looked at. */
  then: () => void;
  resolve: (answer: Settled) => void;
  reject: (error: ClientError) => void;
}

const PROTOCOL = "netra.v1";
const ENDED_KEPT = 32;
const DEFAULT_PATIENCE = 120;

/**
 * Asks and follows. Messages and cancels wait for their answer across lost sockets: one that was not answered when the
 * socket was lost is sent again with the same idempotency key, and every run that has not ended is subscribed again
 * after its last event, so that nothing is asked twice and nothing is missed.
 */
export class Connection {
  reconnects = 0;
  readonly #options: ConnectionOptions;
  readonly #comeback: Comeback;
  readonly #asked = new Map<string, Asked>();
  readonly #subscribing = new Map<string, Map<LiveRun, number>>();
  readonly #runs = new Map<string, LiveRun>();
  readonly #ended: string[] = [];
  readonly #watched = new Map<string, (run: LiveRun) => void>();
  /** The one that is dialled or up; `#socket` is it once the server has greeted. */
  #dialled: WebSocket | null = null;
  #socket: WebSocket | null = null;
  #greeting: ConnectionEstablished | null = null;
  #lostAt: number | null = null;
  #refused = false;
  #over: ClientError | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#comeback = new Comeback(options.patience ?? DEFAULT_PATIENCE);
    this.#dial();
  }

  /** Whether there is a socket, as far as one knows; without one, what is sent waits. */
  get up(): boolean {
    return this.#greeting !== null && this.#lostAt === null && this.#over === null;
  }

  /** The server's last greeting: who it takes us for, and its limits. */
  get greeting(): ConnectionEstablished | null {
    return this.#greeting;
  }

  /** Sends a message, in a new thread unless one is named, and follows the run that it becomes. */
  async send(content: string, options: MessageOptions = {}): Promise<LiveRun> {
    const { threadId, agent, replace, files } = options;
    const accepted = await this.#ask({
      type: "user_message",
      content,
      if_busy: options.ifBusy ?? "enqueue",
      idempotency_key: options.idempotencyKey ?? newId("key"),
      ...(threadId === undefined ? {} : { thread_id: threadId }),
      ...(agent === undefined ? {} : { agent }),
      ...(replace === undefined ? {} : { replace }),
      ...(files === undefined ? {} : { files }),
    });
    const run = accepted.type === "message_accepted" ? this.#runs.get(accepted.run_id) : undefined;
    if (run === undefined) throw new ClientError("the server answered a message with what is no acceptance");
    return run;
  }

  /** Follows a run from the event after `after`. A refusal is thrown by the iteration. */
  follow(runId: string, after = 0): LiveRun {
    if (this.#over !== null) throw this.#over;
    const known = this.#runs.get(runId);
    if (known?.active) return known;
    const run = new LiveRun(new Following(runId, after));
    this.#runs.set(runId, run);
    this.#send(this.#subscription(run));
    return run;
  }

  /**
   * Watches a thread: `onRun` is given each of its unfinished runs, and each that begins, in whatever tab or process;
   * those that this connection began itself too.
   * The answer ends it. One whole run may be missed while the socket is away: look at the thread's messages then.
   */
  async watch(threadId: string, onRun: (run: LiveRun) => void): Promise<() => void> {
    // In force with the answer itself: the first event may come with it.
    await this.#ask(this.#threadSubscription(threadId), () => {
      this.#watched.set(threadId, onRun);
      for (const run of this.#runs.values()) if (run.threadId === threadId && run.active) onRun(run);
    });
    return () => {
      if (this.#watched.get(threadId) !== onRun) return;
      this.#watched.delete(threadId);
      for (const run of this.#runs.values()) if (run.threadId === threadId) this.#runs.delete(run.runId);
      this.#send({ type: "unsubscribe", thread_id: threadId, id: newId("req") });
    };
  }

  /** Stops following a run, which goes on without this client. */
  leave(runId: string): void {
    if (this.#runs.delete(runId)) this.#send({ type: "unsubscribe", run_id: runId, id: newId("req") });
  }

  /** Cancels a run; its stream then tells `agent_cancelled`. */
  async cancel(runId: string): Promise<void> {
    await this.#ask({ type: "cancel", run_id: runId });
  }

  /** Approves a call that waits, or rejects it with a note for the agent; its run then goes on. */
  async decide(approvalId: string, decision: "approve" | "reject", note?: string): Promise<void> {
    const said = note === undefined ? {} : { note };
    await this.#ask({ type: "decide", approval_id: approvalId, decision, ...said });
  }

  /** Answers a question, whose run then goes on. */
  async answer(questionId: string, content: string): Promise<void> {
    await this.#ask({ type: "answer", question_id: questionId, content });
  }

  /** Ends it: everybody who waits hears `ConnectionOver`. */
  close(): void {
    this.#end(new ConnectionOver());
  }

  #dial(): void {
    const { webSocket: Socket = WebSocket, url } = this.#options;
    const socket = new Socket(url, PROTOCOL);
    const dialled = seconds();
    let greeted = false;
    this.#dialled = socket;
    this.#socket = null;
    socket.onopen = () => void this.#authenticate(socket);
    socket.onmessage = ({ data }) => {
      if (this.#over !== null) return;
      let frame: ServerFrame | OtherEvent | null;
      try {
        frame = read(String(data));
      } catch (error) {
        this.#end(error as ClientError); // `read` throws nothing else
        return;
      }
      if (greeted) this.#comeback.worked();
      if (frame?.type === "connection_established" && !greeted) {
        greeted = true;
        this.#greeted(socket, frame);
      } else if (frame !== null) {
        this.#took(frame);
      }
    };
    // What went wrong is told by the close that follows; in Node an error that nobody hears ends the process.
    socket.onerror = () => undefined;
    socket.onclose = ({ code, reason }) => {
      if (greeted && seconds() - dialled > HELD) this.#comeback.worked();
      if (this.#socket === socket) this.#socket = null;
      void this.#comeBack(code, reason);
    };
  }

  async #authenticate(socket: WebSocket): Promise<void> {
    if (this.#options.token === null) return;
    try {
      const token = await this.#options.token(this.#refused);
      this.#refused = false;
      socket.send(JSON.stringify({ type: "authenticate", token }));
    } catch (error) {
      this.#end(asClientError(error));
    }
  }

  #greeted(socket: WebSocket, greeting: ConnectionEstablished): void {
    this.#greeting = greeting;
    this.#socket = socket;
    if (this.#lostAt !== null) {
      this.reconnects += 1;
      this.#notice({ type: "reconnected", seconds: seconds() - this.#lostAt });
      this.#lostAt = null;
    }
    for (const id of this.#subscribing.keys()) if (!this.#asked.has(id)) this.#subscribing.delete(id);
    for (const threadId of this.#watched.keys()) this.#send(this.#threadSubscription(threadId));
    for (const run of this.#runs.values()) {
      if (run.active && !this.#watched.has(run.threadId ?? "")) this.#send(this.#subscription(run));
    }
    for (const { frame } of this.#asked.values()) this.#send(frame);
  }

  async #comeBack(code: number, reason: string): Promise<void> {
    if (this.#over !== null) return;
    if (this.#lostAt === null && this.#greeting !== null) {
      this.#lostAt = seconds();
      this.#notice({ type: "reconnecting", reason: reason || `the socket closed (${code})` });
    }
    const asks = verdict(code);
    if (asks === "stay away" || (asks === "renew" && !this.#comeback.renew())) {
      this.#end(new ConnectionRefused(code, reason || "no reason given"));
      return;
    }
    const delay = this.#comeback.delay(seconds(), Math.random());
    if (delay === null) {
      this.#end(new ConnectionLost(this.#comeback.patience, reason || `closed with ${code}`));
      return;
    }
    if (asks === "renew") {
      this.#refused = true;
      try {
        await this.#options.renew?.();
      } catch (error) {
        this.#end(asClientError(error));
        return;
      }
    }
    if (this.#over === null) this.#timer = setTimeout(() => this.#dial(), delay * 1000);
  }

  #took(frame: ServerFrame | OtherEvent): void {
    switch (frame.type) {
      case "message_accepted":
        this.#accepted(frame);
        break;
      case "ok":
        this.#answered(frame.id, frame);
        break;
      case "error":
        this.#wasRefused(frame.id, new RequestRefused(frame.code, frame.message));
        break;
      case "connection_established":
      case "pong":
        break;
      default: {
        const run = this.#runs.get(frame.run_id) ?? this.#discovered(frame);
        const wasActive = run?.active ?? false;
        run?.told(frame);
        if (run && wasActive && !run.active) this.#keepAWhile(run.runId);
      }
    }
  }

  #accepted(frame: MessageAccepted): void {
    if (!this.#asked.has(frame.id ?? "")) return; // Who asked has gone.
    const known = this.#runs.get(frame.run_id);
    if (known?.active) known.following.begin(0);
    else this.#began(new LiveRun(new Following(frame.run_id), frame.thread_id, frame.message_id));
    this.#answered(frame.id, frame);
  }

  /** A run of a watched thread that was not known here, with its first event. */
  #discovered(frame: RunFrame): LiveRun | undefined {
    if (!("thread_id" in frame) || frame.seq !== 1 || !this.#watched.has(frame.thread_id)) return undefined;
    return this.#began(new LiveRun(new Following(frame.run_id), frame.thread_id));
  }

  #began(run: LiveRun): LiveRun {
    this.#runs.set(run.runId, run);
    this.#watched.get(run.threadId ?? "")?.(run);
    return run;
  }

  #answered(id: string | null, answer: Settled): void {
    // From here on the server tells from where it was asked to, and not from where it was before.
    for (const [run, after] of this.#subscribing.get(id ?? "") ?? []) run.following.begin(after);
    this.#subscribing.delete(id ?? "");
    const asked = this.#asked.get(id ?? "");
    asked?.then();
    asked?.resolve(answer);
  }

  #wasRefused(id: string | null, error: RequestRefused): void {
    for (const [run] of this.#subscribing.get(id ?? "") ?? []) run.failed(error);
    this.#subscribing.delete(id ?? "");
    // A server that drains closes the socket next: the next one gets the frame again.
    if (error.code !== "draining") this.#asked.get(id ?? "")?.reject(error);
  }

  /** An ended run is kept for a while, so that what follows its ending is noticed. */
  #keepAWhile(runId: string): void {
    this.#ended.push(runId);
    if (this.#ended.length > ENDED_KEPT) this.#runs.delete(this.#ended.shift() ?? "");
  }

  async #ask(frame: ClientFrame, then = (): void => undefined): Promise<Settled> {
    if (this.#over !== null) throw this.#over;
    const id = frame.id ?? newId("req");
    const asked = { ...frame, id };
    try {
      return await new Promise<Settled>((resolve, reject) => {
        this.#asked.set(id, { frame: asked, then, resolve, reject });
        this.#send(asked);
      });
    } finally {
      this.#asked.delete(id);
    }
  }

  #subscription(run: LiveRun): ClientFrame {
    const id = newId("req");
    this.#subscribing.set(id, new Map([[run, run.lastSeq]]));
    return { type: "subscribe", run_id: run.runId, after: run.lastSeq, id };
  }

  #threadSubscription(threadId: string): ClientFrame {
    const id = newId("req");
    const runs = [...this.#runs.values()].filter((run) => run.threadId === threadId && run.active);
    this.#subscribing.set(id, new Map(runs.map((run) => [run, run.lastSeq])));
    const after = Object.fromEntries(runs.map((run) => [run.runId, run.lastSeq]));
    return { type: "subscribe", thread_id: threadId, after, id };
  }

  /** Sends a frame if a socket is up. Where it is lost on the way, what must arrive is sent again after the greeting. */
  #send(frame: ClientFrame): void {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(frame));
  }

  #notice(notice: Notice): void {
    for (const run of this.#runs.values()) if (run.active) run.noticed(notice);
    this.#options.onNotice?.(notice);
  }

  #end(error: ClientError): void {
    if (this.#over !== null) return;
    this.#over = error;
    clearTimeout(this.#timer);
    for (const { reject } of this.#asked.values()) reject(error);
    for (const run of this.#runs.values()) if (run.active) run.failed(error);
    this.#dialled?.close();
    this.#socket = null;
  }
}

function asClientError(error: unknown): ClientError {
  return error instanceof ClientError ? error : new ClientError(String(error));
}

function newId(kind: string): string {
  return `${kind}_${crypto.randomUUID()}`;
}

function seconds(): number {
  return performance.now() / 1000;
}
