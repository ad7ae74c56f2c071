// Plays turns with AG-UI's own client, and prints what it was told of each as JSON.
//
// Its one argument is JSON: {url, agent, headers, threadId, turns}. A turn is {agent?, say?, runId?, resume?, cutAfter?,
// attach?, input?}:
// `resume` is what to answer each open interrupt with; `cutAfter` {type, count} aborts the request at that event;
// `attach` {run?, lastEventId?, again?} asks for a run's stream instead, or with `again` by the same request: left out, of
// the run and after the event that were told last; `input` adds to what is posted.
import { HttpAgent } from "@ag-ui/client";

const script = JSON.parse(process.argv[2]);

class Agent extends HttpAgent {
  requestInit(input) {
    const init = super.requestInit({ ...input, ...this.turn.input });
    const { attach } = this.turn;
    if (attach === undefined) return init;
    const headers = { ...init.headers, "Last-Event-ID": String(attach.lastEventId ?? last.seq) };
    return attach.again ? { ...init, headers } : { method: "GET", headers, signal: init.signal };
  }
}

const agent = new Agent({ url: script.url + script.agent, headers: script.headers, threadId: script.threadId });
const told = [];
const last = { seq: 0, run: "" };
for (const turn of script.turns) {
  agent.turn = turn;
  const path = turn.attach && !turn.attach.again ? `runs/${turn.attach.run ?? last.run}` : (turn.agent ?? script.agent);
  agent.url = script.url + path;
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
          last.seq = event.metadata?.netra?.seq ?? last.seq;
          last.run = event.metadata?.netra?.run_id ?? last.run;
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
