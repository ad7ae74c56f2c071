import { unwrap } from "@netra-apex/client";
import type { ReactElement } from "react";
import { netra } from "../session/netra";
import { Act } from "./Act";
import { ago, brief, day, megabytes, ms, NONE, span } from "./format";
import type { Overview, Process } from "./live";
import { Table } from "./Table";

/** The processes: what each does, how it is, and whether it takes new work. */
export function Processes({ overview }: { overview: Overview }): ReactElement {
  const { processes, at, executor } = overview;
  return (
    <>
      <h2>Processes</h2>
      <p className="hint">
        A drained process takes no new work, and what runs there goes on; it can be stopped once it has no run. Tasks, feeds, files and
        memory that only ever grow tell of a leak.
      </p>
      <Table<Process>
        label="Processes"
        rows={processes}
        keyOf={(each) => each.executor}
        empty="No process is known."
        columns={[
          {
            head: "Process",
            value: (each) => each.executor,
            cell: (each) => (
              <>
                <code title={each.executor}>{brief(each.executor)}</code>
                {each.executor === executor && <small> this one</small>}
              </>
            ),
          },
          { head: "State", value: stateOf, cell: (each) => <span className={`status ${stateOf(each)}`}>{stateOf(each)}</span> },
          { head: "Act", value: () => null, cell: (each) => <Drain key={String(each.draining)} process={each} /> },
          { head: "Kind", value: (each) => each.figures?.role ?? NONE },
          { head: "Host", value: (each) => each.figures?.host ?? NONE, cell: (each) => (each.figures ? `${each.figures.host} (${each.figures.pid})` : NONE) },
          { head: "Version", value: (each) => each.figures?.version ?? NONE },
          { head: "Up", value: (each) => each.started_at, cell: (each) => <span title={day(each.started_at)}>{ago(each.started_at, at)}</span>, numeric: true },
          { head: "Seen", value: (each) => each.silent_ms, cell: (each) => (each.silent_ms < 1500 ? "now" : `${span(each.silent_ms)} ago`), numeric: true },
          { head: "Runs", value: (each) => each.figures?.runs ?? null, cell: (each) => `${each.figures?.runs ?? NONE} of ${each.room}`, numeric: true },
          { head: "Sockets", value: (each) => each.figures?.connections ?? null, numeric: true },
          { head: "Streams", value: (each) => each.figures?.streams ?? null, numeric: true },
          { head: "Loop lag", value: (each) => each.figures?.worst_lag_ms ?? null, cell: (each) => ms(each.figures?.worst_lag_ms), numeric: true },
          { head: "Stalls", value: (each) => each.figures?.stalls ?? null, cell: stalls, numeric: true },
          { head: "Tasks", value: (each) => each.figures?.tasks ?? null, numeric: true },
          { head: "Feeds", value: (each) => each.figures?.feeds ?? null, numeric: true },
          { head: "Threads", value: (each) => each.figures?.threads ?? null, numeric: true },
          { head: "Files", value: (each) => each.figures?.open_files ?? null, numeric: true },
          { head: "Memory", value: (each) => each.figures?.memory_bytes ?? null, cell: (each) => megabytes(each.figures?.memory_bytes), numeric: true },
        ]}
      />
    </>
  );
}

function Drain({ process }: { process: Process }): ReactElement {
  const params = { path: { executor: process.executor } };
  const about = `process ${brief(process.executor)}`;
  return process.draining ? (
    <Act name="Resume" about={about} act={() => unwrap(netra.api.POST("/api/admin/processes/{executor}/resume", { params }))} />
  ) : (
    <Act name="Drain" about={about} act={() => unwrap(netra.api.POST("/api/admin/processes/{executor}/drain", { params }))} />
  );
}

function stateOf({ silent_ms: silent, draining, figures }: Process): string {
  if (silent > 1500) return "silent";
  if (figures?.draining) return figures.runs === 0 ? "drained" : "draining";
  return draining ? "draining" : "works";
}

function stalls({ figures }: Process): string {
  if (!figures) return NONE;
  return figures.stalls ? `${figures.stalls}, at most ${ms(figures.longest_stall_ms)}` : "0";
}
