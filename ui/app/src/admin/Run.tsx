import { unwrap, type DurableEvent } from "@netra-apex/client";
import { useQuery } from "@tanstack/react-query";
import { ArrowLeft, Pause, Play, SkipBack, SkipForward, StepBack, StepForward } from "lucide-react";
import { useEffect, useMemo, useState, useSyncExternalStore, type ReactElement } from "react";
import { Link } from "wouter";
import { Agent } from "../run/Timeline";
import { RunView } from "../run/view";
import { netra } from "../session/netra";
import { brief, day, ms } from "./format";
import type { Overview } from "./live";
import { Cancel, StatusOf } from "./Runs";
import { Told } from "./told";

const SPEEDS = [1, 4, 16] as const;
const LONGEST_MS = 3000; // a pause of a replay, however long nothing happened

/** A run of anybody: what it told, as its owner sees it, at its end or at any moment before. */
export function Run({ runId, overview }: { runId: string; overview: Overview }): ReactElement {
  const told = useMemo(() => new Told(runId), [runId]);
  useEffect(() => {
    told.open();
    return () => told.close();
  }, [told]);
  const version = useSyncExternalStore(told.subscribe, told.snapshot);
  const known = [...overview.runs, ...overview.ended].find((each) => each.run_id === runId);
  // An older one is asked for by itself.
  const asked = useQuery({
    queryKey: ["admin", "run", runId],
    queryFn: () => unwrap(netra.api.GET("/api/admin/runs/{run_id}", { params: { path: { run_id: runId } } })),
    enabled: known === undefined,
    staleTime: Infinity,
  });
  const run = known ?? asked.data;
  const { events } = told;
  const [at, setAt] = useState<number | null>(null); // null: with the last one
  const shown = at ?? events.length;
  const view = useMemo(() => viewOf(runId, events.slice(0, shown)), [runId, events, shown]);
  void version;
  return (
    <>
      <div className="row">
        <h2>
          <Link href="/admin/runs" className="icon-button" aria-label="All runs">
            <ArrowLeft aria-hidden size={16} />
          </Link>{" "}
          Run <code title={runId}>{brief(runId)}</code>
        </h2>
        {run && !run.ended_at && !told.ended && <Cancel runId={runId} />}
      </div>
      {asked.error && <p role="alert">{asked.error.message}</p>}
      {run && (
        <dl className="facts">
          <Fact name="User" value={run.user_id} />
          <Fact name="Agent" value={run.agent} />
          <Fact name="Status" value={<StatusOf run={run} />} />
          <Fact name="Begun" value={day(run.created_at)} />
          <Fact name="Took" value={run.ended_at ? ms(Date.parse(run.ended_at) - Date.parse(run.created_at)) : "runs"} />
          <Fact name="Process" value={run.executor ? <code title={run.executor}>{brief(run.executor)}</code> : "–"} />
          <Fact name="Taken up" value={String(run.taken_up)} />
        </dl>
      )}
      {told.away && <p role="status">The stream is away, and comes back by itself.</p>}
      {events.length > 0 && (
        <>
          <Replay events={events} at={at} setAt={setAt} />
          <div className="columns">
            <section>
              <h3>Timeline</h3>
              {view.task !== null && <p className="asked">{said(view.task)}</p>}
              {view.root !== null && (
                <div className="timeline">
                  <Agent agent={view.root} />
                </div>
              )}
              {view.texts.map((text) => (
                <p key={text.messageId} className="plain answer">
                  {text.text}
                </p>
              ))}
              {view.root?.failure && (
                <p className="failed">
                  {view.root.failure.message} <code>{view.root.failure.code}</code>
                </p>
              )}
            </section>
            <section>
              <h3>Events</h3>
              <EventList events={events} shown={shown} setAt={setAt} />
            </section>
          </div>
        </>
      )}
    </>
  );
}

function Fact({ name, value }: { name: string; value: ReactElement | string }): ReactElement {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

/** Steps through the events in time: by hand, or as fast as they came, or faster. */
function Replay({ events, at, setAt }: { events: DurableEvent[]; at: number | null; setAt: (at: number | null) => void }): ReactElement {
  const [speed, setSpeed] = useState<number>(4);
  const [playing, setPlaying] = useState(false);
  const shown = at ?? events.length;
  useEffect(() => {
    if (!playing) return;
    if (shown >= events.length) {
      setPlaying(false);
      return;
    }
    const pause = Math.min(LONGEST_MS, (time(events, shown + 1) - time(events, shown)) / speed);
    const timer = setTimeout(() => setAt(shown + 1), Math.max(30, pause));
    return () => clearTimeout(timer);
  }, [playing, shown, events, speed, setAt]);
  const to = (next: number) => {
    setPlaying(false);
    setAt(next >= events.length ? null : Math.max(1, next));
  };
  const play = () => {
    if (!playing && shown >= events.length) setAt(1);
    setPlaying(!playing);
  };
  const now = `event ${shown} of ${events.length}, ${ms(time(events, shown) - time(events, 1))} after the first`;
  return (
    <div className="replay" role="group" aria-label="Replay">
      <button type="button" className="icon-button" aria-label="First event" onClick={() => to(1)}>
        <SkipBack aria-hidden size={16} />
      </button>
      <button type="button" className="icon-button" aria-label="Event before" onClick={() => to(shown - 1)}>
        <StepBack aria-hidden size={16} />
      </button>
      <button type="button" className="icon-button" aria-label={playing ? "Pause" : "Play"} onClick={play}>
        {playing ? <Pause aria-hidden size={16} /> : <Play aria-hidden size={16} />}
      </button>
      <button type="button" className="icon-button" aria-label="Next event" onClick={() => to(shown + 1)}>
        <StepForward aria-hidden size={16} />
      </button>
      <button type="button" className="icon-button" aria-label="Last event" onClick={() => to(events.length)}>
        <SkipForward aria-hidden size={16} />
      </button>
      <input
        type="range"
        aria-label="Moment"
        aria-valuetext={now}
        min={1}
        max={events.length}
        value={shown}
        onChange={(event) => to(Number(event.target.value))}
      />
      <span className="hint">{now}</span>
      <label>
        Speed{" "}
        <select value={speed} onChange={(event) => setSpeed(Number(event.target.value))}>
          {SPEEDS.map((each) => (
            <option key={each} value={each}>
              {each}×
            </option>
          ))}
        </select>
      </label>
    </div>
  );
}

function EventList({ events, shown, setAt }: { events: DurableEvent[]; shown: number; setAt: (at: number) => void }): ReactElement {
  const current = events[shown - 1];
  return (
    <>
      <ol className="events" aria-label="Events" tabIndex={0}>
        {events.map((event, index) => (
          <li key={event.seq}>
            <button
              type="button"
              className="quiet"
              aria-current={index === shown - 1 ? "step" : undefined}
              data-past={index < shown}
              onClick={() => setAt(index + 1)}
            >
              <span className="numeric">{event.seq}</span>
              <span>{event.type}</span>
              <span>{event.agent}</span>
              <span className="numeric">+{ms(time(events, index + 1) - time(events, 1))}</span>
            </button>
          </li>
        ))}
      </ol>
      {current && (
        <pre tabIndex={0} aria-label={`Event ${current.seq}`}>
          {JSON.stringify(current, null, 2)}
        </pre>
      )}
    </>
  );
}

function viewOf(runId: string, events: DurableEvent[]): RunView {
  const view = new RunView(runId);
  for (const event of events) view.take(event);
  return view;
}

function time(events: DurableEvent[], number: number): number {
  return Date.parse(events[Math.max(1, number) - 1]?.at ?? "");
}

function said(task: unknown): string {
  return typeof task === "string" ? task : JSON.stringify(task, null, 2);
}
