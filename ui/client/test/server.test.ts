import { afterAll, beforeAll, expect, test } from "vitest";
import { WebSocket as NodeWebSocket } from "ws";
import { Client, RequestRefused, unwrap, type Frame, type LiveRun } from "../src/index.js";
import { PASSWORD, Relay, Server } from "./server.js";

const webSocket = NodeWebSocket as unknown as typeof WebSocket;
let server: Server;
beforeAll(async () => {
  server = await Server.begin(["ada", "grace"]);
});
afterAll(() => server.end());

const as = (username: string, url = server.url) =>
  new Client({ url, credentials: { username, password: PASSWORD }, webSocket });

const durable = (frames: readonly Frame[]) =>
  frames.flatMap((frame) => ("seq" in frame ? [[frame.seq, frame.type]] : []));

test("a message is answered with the five events, in order", async () => {
  const connection = as("ada").connect();
  const run = await connection.send("What is 17 * 23?");
  const frames: Frame[] = [];
  for await (const frame of run) frames.push(frame);
  connection.close();
  expect(durable(frames).map(([, type]) => type)).toEqual([
    "agent_started",
    "agent_thinking",
    "tool_executing",
    "tool_completed",
    "message_completed",
    "agent_completed",
  ]);
  expect(run.ending?.type).toBe("agent_completed");
  expect(JSON.stringify(run.ending)).toContain("391");
});

test("a run whose sockets are cut again and again is told once and without a gap", async () => {
  const relay = new Relay(server.port);
  const client = as("ada", await relay.listen());
  const connection = client.connect();
  const run = await connection.send("Tell me how runs survive a crash");
  const frames: Frame[] = [];
  let text = "";
  let cuts = 0;
  for await (const frame of run) {
    frames.push(frame);
    if (frame.type === "message_reset") text = "";
    if (frame.type !== "message_delta") continue;
    text += frame.text;
    // Not while the last cut is still on its way: one socket would be cut twice.
    if (cuts < 3 && connection.up && connection.reconnects === cuts) {
      cuts += 1;
      relay.cut();
    }
  }
  const stored = await client.events(run.runId);
  connection.close();
  relay.end();
  expect(cuts).toBeGreaterThan(0);
  expect(connection.reconnects).toBeGreaterThanOrEqual(cuts - 1);
  expect(frames.filter((frame) => "seq" in frame)).toEqual(stored);
  // What was written while the socket was away comes with the whole message at the latest.
  expect(run.following.text(messageOf(frames)).startsWith(text)).toBe(true);
});

test("a run goes on when its server was killed and is back", async () => {
  const notices: string[] = [];
  const connection = as("ada").connect({ onNotice: ({ type }) => notices.push(type) });
  const run = await connection.send("Tell me how runs survive a crash");
  const frames: Frame[] = [];
  let killed = false;
  for await (const frame of run) {
    frames.push(frame);
    if (frame.type !== "message_delta" || killed) continue;
    killed = true;
    await server.stop("SIGKILL");
    await server.start();
  }
  connection.close();
  expect(notices).toEqual(["reconnecting", "reconnected"]);
  expect(run.ending?.type).toBe("agent_completed");
  expect(durable(frames).map(([seq]) => seq)).toEqual(durable(frames).map((_, index) => index + 1));
});

test("a tab that watches a thread is told what another tab asks there", async () => {
  const [first, second] = [as("ada").connect(), as("ada").connect()];
  const opening = await first.send("Hello");
  await opening.ended();
  const threadId = opening.threadId ?? "";
  let tell: (run: LiveRun) => void = () => undefined;
  const begun = new Promise<LiveRun>((resolve) => (tell = resolve));
  await second.watch(threadId, tell);
  const asked = await first.send("What is 2 + 2?", { threadId });
  const seen = await begun;
  expect(seen.runId).toBe(asked.runId);
  const [here, there] = await Promise.all([collected(asked), collected(seen)]);
  expect(durable(there)).toEqual(durable(here));
  first.close();
  second.close();
});

test("a thread that is watched while its run tells is told without a gap and nothing twice", async () => {
  const connection = as("ada").connect();
  const run = await connection.send("Tell me how runs survive a crash");
  const reading = collected(run);
  for (let times = 0; times < 5; times += 1) await connection.watch(run.threadId ?? "", () => undefined);
  const frames = await reading;
  connection.close();
  expect(durable(frames).map(([seq]) => seq)).toEqual(durable(frames).map((_, index) => index + 1));
  expect(run.ending?.type).toBe("agent_completed");
});

test("another user's run is as none", async () => {
  const [ada, grace] = [as("ada"), as("grace")];
  const connection = ada.connect();
  const run = await connection.send("Hello");
  await run.ended();
  const params = { path: { run_id: run.runId } };
  const refusal = await unwrap(grace.api.GET("/api/runs/{run_id}", { params })).catch((error: unknown) => error);
  expect(refusal).toBeInstanceOf(RequestRefused);
  expect(refusal).toMatchObject({ code: "not_found", status: 404 });
  const hers = grace.connect();
  await expect(hers.follow(run.runId).ended()).rejects.toMatchObject({ code: "not_found" });
  hers.close();
  connection.close();
});

test("a wrong password is refused with the server's sentence", async () => {
  const client = new Client({ url: server.url, credentials: { username: "ada", password: "not this one" }, webSocket });
  await expect(client.token()).rejects.toMatchObject({ code: "unauthenticated", status: 401 });
});

async function collected(run: LiveRun): Promise<Frame[]> {
  const frames: Frame[] = [];
  for await (const frame of run) frames.push(frame);
  return frames;
}

function messageOf(frames: readonly Frame[]): string {
  for (const frame of frames) if (frame.type === "message_completed") return frame.message_id;
  throw new Error("there was no message");
}
