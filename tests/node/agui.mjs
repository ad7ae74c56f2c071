// Plays turns with AG-UI's own client, and prints what it was told of each as JSON.
//
// Its one argument is JSON: {url, headers, threadId, turns}. A turn is {say?, runId?, resume?, cutAfter?, attach?, input?}:
// `resume` is what to answer each open interrupt with; `cutAfter` {type, count} aborts the request at that event;
// `attach` {url, lastEventId} asks for a run's stream instead of posting; `input` adds to what is posted.
import { HttpAgent } from "@ag-ui/client";

const script = JSON.parse(process.argv[2]);

class Agent extends HttpAgent {
  requestInit(input) {
    const init = super.requestInit({ ...input, ...this.turn.input });
    const { attach } = this.turn;
    if (attach === undefined) return init;
    const headers = { ...init.headers, "Last-Event-ID": String(attach.lastEventId) };
    return attach.again ? { ...init, headers } : { method: "GET", headers, signal: init.signal };
  }
}

const agent = new Agent({ url: script.url, headers: script.headers, threadId: script.threadId });
const told = [];
for (const turn of script.turns) {
  agent.turn = turn;
  agent.url = turn.attach?.url ?? script.url;
  const events = [];
  let error = null;
  let seen = 0;
  if (turn.say !== undefined) agent.addMessage({ id: crypto.randomUUID(), role: "user", content: turn.say });
  const resume =
    turn.resume && agent.pendingInterrupts.map((each) => ({ interruptId: each.id, ...turn.resume }));
  try {
    await agent.runAgent(
      { runId: turn.runId, ...(resume ? { resume } : {}) },
      {
        onEvent: ({ event }) => {
          events.push(event);
          if (event.type === turn.cutAfter?.type && ++seen === turn.cutAfter.count) agent.abortRun();
        },
      },
    );
  } catch (raised) {
    error = { message: String(raised.message), status: raised.status ?? null };
  }
  told.push({ events, error, messages: structuredClone(agent.messages), interrupts: agent.pendingInterrupts });
}
process.stdout.write(JSON.stringify(told), () => process.exit(0));
