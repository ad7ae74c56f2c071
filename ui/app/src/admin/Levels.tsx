import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState, type ReactElement } from "react";
import { Chart } from "./charts";
import { clock, day, money, ms, NONE, percent, short, whole } from "./format";
import { read, type Latency, type Levels as LevelsOf, type Part, type ServiceLevels } from "./golden";
import type { Overview } from "./live";
import { Table } from "./Table";

const PERIODS = ["1h", "24h", "7d", "30d"] as const;
const AGAIN_MS = 60_000;
type Failure = ServiceLevels["failures"][number];
type Delivery = ServiceLevels["events"][number];
type Burn = ServiceLevels["burn_rates"][number];

/** Whether the golden path holds: accepted message, five events, answer, without a gap, within the limit. */
export function Levels({ overview }: { overview: Overview }): ReactElement {
  const [since, setSince] = useState<(typeof PERIODS)[number]>("24h");
  const levels = useQuery({
    queryKey: ["admin", "levels", since],
    queryFn: () => read(since),
    staleTime: AGAIN_MS,
    placeholderData: (before) => before,
  });
  // Each look is a row in the audit: one a minute at most, and none while no run ends.
  const latest = overview.ended[0]?.run_id;
  const seen = useRef(latest);
  const { dataUpdatedAt, refetch } = levels;
  useEffect(() => {
    if (dataUpdatedAt === 0 || seen.current === latest) return;
    const look = () => {
      seen.current = latest;
      void refetch();
    };
    const timer = setTimeout(look, Math.max(0, dataUpdatedAt + AGAIN_MS - Date.now()));
    return () => clearTimeout(timer);
  }, [latest, dataUpdatedAt, refetch]);
  return (
    <>
      <div className="row">
        <h2>Golden path</h2>
        {levels.data && <span className="hint">as of {clock(levels.data.until)}</span>}
        <button type="button" className="quiet" disabled={levels.isFetching} onClick={() => void refetch()}>
          Look again
        </button>
        <label>
          Period{" "}
          <select value={since} onChange={(event) => setSince(event.target.value as typeof since)}>
            {PERIODS.map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
        </label>
      </div>
      {levels.error && <p role="alert">{levels.error.message}</p>}
      {levels.data && <Shown levels={levels.data} />}
    </>
  );
}

function Shown({ levels }: { levels: ServiceLevels }): ReactElement {
  const { total, before, golden_path: golden, bucket_seconds: bucket } = levels;
  const rows = levels.series.map((each) => ({ ...each, at: Date.parse(each.at) }));
  const time = (at: number) => (bucket >= 21_600 ? day(new Date(at).toISOString()).split(",")[0] ?? "" : clock(at).replace(/(\d\d:\d\d):\d\d/, "$1"));
  const p95 = (of: (row: LevelsOf) => Latency) => (row: LevelsOf) => of(row)?.p95 ?? null;
  return (
    <>
      <p className="hint">
        A run is good that ended within {golden.limit_seconds} s with an answer and all five events told; {percent(golden.objective)} of them
        are to be. Cancelled by their users and over budget is not counted.
      </p>
      <dl className="tiles">
        <Tile name="Success" value={percent(total.success_rate)} beside={was(percent(before?.success_rate))} />
        <Tile name="Runs" value={whole(total.runs)} beside={`${whole(total.bad)} not good`} />
        <Tile name="First event, p95" value={ms(total.first_event_ms?.p95)} beside={beside(before?.first_event_ms)} />
        <Tile name="First token, p95" value={ms(total.first_token_ms?.p95)} beside={beside(before?.first_token_ms)} />
        <Tile name="Completion, p95" value={ms(total.completion_ms?.p95)} beside={beside(before?.completion_ms)} />
        <Tile name="Tool failures" value={whole(total.tool_failures)} beside={`of ${whole(total.tool_calls)} calls`} />
        <Tile name="Tokens" value={short(total.input_tokens + total.output_tokens)} beside={`${short(total.output_tokens)} written`} />
        <Tile name="Cost" value={money(total.cost_usd)} beside={was(money(before?.cost_usd))} />
      </dl>
      <div className="charts">
        <Chart title="Success rate" rows={rows} time={time} format={percent} ticks={marks(rows)} series={[{ name: "good of all", of: (row) => row.success_rate, color: "--good" }]} />
        <Chart
          title="Runs that ended"
          rows={rows}
          time={time}
          kind="bars"
          format={whole}
          series={[
            { name: "good", of: (row) => row.good, color: "--good" },
            { name: "bad", of: (row) => row.bad, color: "--bad" },
            { name: "not counted", of: (row) => row.excluded, color: "--series-2" },
          ]}
        />
        <Chart
          title="Latency, p95"
          rows={rows}
          time={time}
          format={ms}
          series={[
            { name: "first event", of: p95((row) => row.first_event_ms), color: "--series-1" },
            { name: "first token", of: p95((row) => row.first_token_ms), color: "--series-3" },
            { name: "completion", of: p95((row) => row.completion_ms), color: "--series-4" },
          ]}
        />
        <Chart
          title="Tokens"
          rows={rows}
          time={time}
          kind="bars"
          format={short}
          series={[
            { name: "read", of: (row) => row.input_tokens, color: "--series-1" },
            { name: "written", of: (row) => row.output_tokens, color: "--series-5" },
          ]}
        />
        <Chart title="Tool failures" rows={rows} time={time} kind="bars" format={whole} series={[{ name: "failed calls", of: (row) => row.tool_failures, color: "--bad" }]} />
        <Chart title="Cost" rows={rows} time={time} kind="bars" format={money} series={[{ name: "US dollars", of: (row) => row.cost_usd ?? null, color: "--series-2" }]} />
      </div>
      <div className="columns">
        <section>
          <h3>Errors by cause</h3>
          <Table<Failure>
            label="Errors by cause"
            rows={levels.failures}
            keyOf={(each) => each.cause}
            sorted={{ head: "Runs", down: true }}
            empty="No run has failed."
            columns={[
              { head: "Cause", value: (each) => each.cause, cell: (each) => <code>{each.cause}</code> },
              { head: "Runs", value: (each) => each.runs, numeric: true },
              { head: "What it means", value: (each) => each.message },
              { head: "Counted", value: (each) => (each.counted ? "yes" : "no") },
            ]}
          />
        </section>
        <section>
          <h3>The five events</h3>
          <Table<Delivery>
            label="The five events"
            rows={levels.events}
            keyOf={(each) => each.type}
            empty="Nothing was due."
            columns={[
              { head: "Event", value: (each) => each.type, cell: (each) => <code>{each.type}</code> },
              { head: "Due", value: (each) => each.due, numeric: true },
              { head: "Told", value: (each) => each.told, numeric: true },
              { head: "Rate", value: (each) => each.rate, cell: (each) => percent(each.rate), numeric: true },
            ]}
          />
          <h3>Burn rate</h3>
          <Table<Burn>
            label="Burn rate"
            rows={levels.burn_rates}
            keyOf={(each) => each.window}
            empty="Nothing yet."
            columns={[
              { head: "Window", value: (each) => each.seconds, cell: (each) => each.window },
              { head: "Good", value: (each) => each.good, numeric: true },
              { head: "Bad", value: (each) => each.bad, numeric: true },
              { head: "Burn rate", value: (each) => each.burn_rate, cell: (each) => (each.burn_rate === null ? "–" : each.burn_rate.toFixed(1)), numeric: true },
            ]}
          />
        </section>
      </div>
      <Parts title="By agent" rows={levels.agents} />
      <Parts title="By model" rows={levels.models} nameless="no model" />
      <Parts title="By user" rows={levels.users} />
    </>
  );
}

function Parts({ title, rows, nameless = "" }: { title: string; rows: Part[]; nameless?: string }): ReactElement {
  return (
    <section>
      <h3>{title}</h3>
      <Table<Part>
        label={title}
        rows={rows}
        keyOf={(each) => each.name ?? nameless}
        empty="No run in this period."
        columns={[
          { head: "Name", value: (each) => each.name ?? nameless },
          { head: "Runs", value: (each) => each.runs, numeric: true },
          { head: "Success", value: (each) => each.success_rate, cell: (each) => percent(each.success_rate), numeric: true },
          { head: "Calls", value: (each) => each.tool_calls, numeric: true },
          { head: "Failed calls", value: (each) => each.tool_failures, numeric: true },
          { head: "Requests", value: (each) => each.requests, numeric: true },
          { head: "Tokens read", value: (each) => each.input_tokens, cell: (each) => whole(each.input_tokens), numeric: true },
          { head: "Tokens written", value: (each) => each.output_tokens, cell: (each) => whole(each.output_tokens), numeric: true },
          { head: "Cost", value: (each) => each.cost_usd ?? null, cell: (each) => money(each.cost_usd), numeric: true },
        ]}
      />
    </section>
  );
}

function Tile({ name, value, beside: small }: { name: string; value: string; beside: string }): ReactElement {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        {value} <small>{small}</small>
      </dd>
    </div>
  );
}

function beside(before: Latency | undefined): string {
  return was(ms(before?.p95));
}

function was(before: string): string {
  return before === NONE ? "" : `${before} before`;
}

/** As near as they all can be seen: of 99.9 % the tenths count. */
function marks(rows: readonly { success_rate: number | null }[]): [number, number, number] {
  const worst = Math.min(1, ...rows.flatMap(({ success_rate: rate }) => (rate === null ? [] : [rate])));
  const low = [0.99, 0.9, 0.5].find((each) => worst >= each) ?? 0;
  return [low, (low + 1) / 2, 1];
}
