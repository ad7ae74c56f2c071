import type { Schemas } from "@netra-apex/client";
import type { ReactElement } from "react";
import { Link } from "wouter";
import { Chart } from "./charts";
import { ago, brief, day, ms, NONE, whole } from "./format";
import type { Overview, Sample } from "./live";
import { Table } from "./Table";

type Load = Schemas["LoadShape"];
type Incident = Schemas["IncidentShape"];

/** How it stands: what runs, who waits, for whom is waited, and what happened to processes. */
export function Now({ overview, samples }: { overview: Overview; samples: Sample[] }): ReactElement {
  const { loads, processes, incidents, at } = overview;
  const sum = (of: (load: Load) => number) => whole(loads.reduce((all, load) => all + of(load), 0));
  const figures = processes.flatMap((each) => (each.figures ? [each.figures] : []));
  const oldest = (of: (load: Load) => string | null | undefined) => loads.map(of).filter((each) => each != null).toSorted()[0];
  const lost = incidents.filter((each) => each.kind === "lost");
  return (
    <>
      <dl className="tiles">
        <Tile name="Running" value={sum((load) => load.running)} />
        <Tile name="Queued" value={sum((load) => load.queued + load.left)} beside={since(oldest((load) => load.queued_since), at)} />
        <Tile name="Approvals waiting" value={sum((load) => load.approvals)} beside={since(oldest((load) => load.waits_since), at)} />
        <Tile name="Questions waiting" value={sum((load) => load.questions)} />
        <Tile name="Connections" value={whole(figures.reduce((all, each) => all + each.connections, 0))} />
        <Tile name="Processes" value={whole(processes.length)} beside={lost.length ? `${lost.length} lost lately` : ""} />
        <Tile name="Worst loop lag" value={ms(Math.max(0, ...figures.map((each) => each.worst_lag_ms)))} beside="within a minute" />
        <Tile name="Loop stalls" value={whole(figures.reduce((all, each) => all + each.stalls, 0))} beside="since they began" />
      </dl>
      <div className="charts">
        <Chart
          title="Runs"
          rows={samples}
          kind="areas"
          format={whole}
          series={[
            { name: "running", of: (row) => row.running, color: "--series-1" },
            { name: "queued", of: (row) => row.queued, color: "--series-2" },
            { name: "waiting for a person", of: (row) => row.waiting, color: "--series-3" },
          ]}
        />
        <Chart title="Loop lag" rows={samples} format={ms} series={[{ name: "latest of a second", of: (row) => row.lag, color: "--series-4" }]} />
        <Chart
          title="Memory of all processes"
          rows={samples}
          format={(value) => `${whole(value)} MB`}
          series={[{ name: "resident", of: (row) => row.memory, color: "--series-5" }]}
        />
      </div>
      <div className="columns broad">
        <section>
          <h2>Users with unfinished runs</h2>
          <Table<Load>
            label="Users with unfinished runs"
            rows={loads}
            keyOf={(load) => load.user_id}
            sorted={{ head: "Queued", down: true }}
            empty="Nobody has a run that has not ended."
            columns={[
              { head: "User", value: (load) => load.user_id },
              { head: "Running", value: (load) => load.running, numeric: true },
              { head: "Queued", value: (load) => load.queued + load.left, numeric: true },
              { head: "Queued for", value: (load) => age(load.queued_since, at), cell: (load) => ago(load.queued_since, at), numeric: true },
              { head: "Approvals", value: (load) => load.approvals, numeric: true },
              { head: "Questions", value: (load) => load.questions, numeric: true },
              { head: "Waits for", value: (load) => age(load.waits_since, at), cell: (load) => ago(load.waits_since, at), numeric: true },
            ]}
          />
        </section>
        <section>
          <h2>What happened to processes</h2>
          <Table<Incident>
            label="What happened to processes"
            rows={incidents}
            keyOf={(each) => `${each.at} ${each.executor} ${each.kind}`}
            empty="Nothing yet."
            columns={[
              { head: "When", value: (each) => each.at, cell: (each) => day(each.at) },
              { head: "What", value: (each) => each.kind, cell: (each) => <span className={each.kind === "lost" ? "failed" : ""}>{each.kind}</span> },
              { head: "Process", value: (each) => each.executor, cell: (each) => <Link href="/admin/processes"><code title={each.executor}>{brief(each.executor)}</code></Link> },
              { head: "Runs taken over", value: (each) => (each.kind === "started" ? null : each.runs), cell: (each) => (each.kind === "started" ? NONE : each.runs), numeric: true },
            ]}
          />
        </section>
      </div>
    </>
  );
}

function Tile({ name, value, beside = "" }: { name: string; value: string; beside?: string }): ReactElement {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        {value} <small>{beside}</small>
      </dd>
    </div>
  );
}

function since(at: string | undefined, now: string): string {
  return at === undefined ? "" : `for ${ago(at, now)}`;
}

function age(at: string | null | undefined, now: string): number | null {
  return at == null ? null : Date.parse(now) - Date.parse(at);
}
