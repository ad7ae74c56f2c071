import { unwrap, type Schemas } from "@netra-apex/client";
import { useInfiniteQuery } from "@tanstack/react-query";
import { useState, type ReactElement } from "react";
import { Link } from "wouter";
import { netra } from "../session/netra";
import { Act } from "./Act";
import { brief, clock, day, ms } from "./format";
import type { Overview, RunState } from "./live";
import { Table } from "./Table";

const STATUSES = ["queued", "running", "waiting", "completed", "failed", "cancelled"] as const;
type Status = (typeof STATUSES)[number];
type AnyRun = Schemas["AnyRunShape"] & Partial<RunState>;

/** Everybody's runs: those that have not ended and the last that have, live; older ones where somebody asks for them. */
export function Runs({ overview }: { overview: Overview }): ReactElement {
  const [status, setStatus] = useState<Status | "">("");
  const [asked, setAsked] = useState(false);
  const older = useInfiniteQuery({
    queryKey: ["admin", "runs", status],
    queryFn: ({ pageParam }) => page(status, pageParam),
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.next_cursor,
    enabled: asked,
    staleTime: Infinity,
  });
  const known = new Map<string, AnyRun>();
  for (const run of older.data?.pages.flatMap((each) => each.items) ?? []) known.set(run.run_id, run);
  for (const run of [...overview.ended, ...overview.runs]) known.set(run.run_id, run);
  const rows = [...known.values()].filter((run) => status === "" || run.status === status);
  return (
    <>
      <div className="row">
        <h2>Runs</h2>
        <label>
          Status{" "}
          <select value={status} onChange={(event) => setStatus(event.target.value as Status | "")}>
            <option value="">all</option>
            {STATUSES.map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
        </label>
      </div>
      <Table<AnyRun>
        label="Runs"
        rows={rows}
        keyOf={(run) => run.run_id}
        sorted={{ head: "Begun", down: true }}
        empty="There is none."
        columns={[
          { head: "Begun", value: (run) => run.created_at, cell: (run) => <time dateTime={run.created_at} title={day(run.created_at)}>{clock(run.created_at)}</time> },
          { head: "Run", value: (run) => run.run_id, cell: (run) => <Link href={`/admin/runs/${run.run_id}`}><code title={run.run_id}>{brief(run.run_id)}</code></Link> },
          { head: "User", value: (run) => run.user_id },
          { head: "Agent", value: (run) => run.agent },
          { head: "Status", value: (run) => run.status, cell: (run) => <StatusOf run={run} /> },
          { head: "Act", value: () => null, cell: (run) => run.ended_at == null && <Cancel runId={run.run_id} /> },
          { head: "For", value: (run) => took(run, overview.at), cell: (run) => ms(took(run, overview.at)), numeric: true },
          { head: "Events", value: (run) => run.last_seq, numeric: true },
          { head: "Process", value: (run) => run.executor ?? null, cell: (run) => run.executor && <code title={run.executor}>{brief(run.executor)}</code> },
          { head: "Taken up", value: (run) => run.taken_up ?? null, numeric: true },
        ]}
      />
      {(!asked || older.hasNextPage) && (
        <button type="button" className="quiet" disabled={older.isFetching} onClick={() => (asked ? void older.fetchNextPage() : setAsked(true))}>
          Older runs
        </button>
      )}
      {older.error && <p role="alert">{older.error.message}</p>}
    </>
  );
}

/** Ends somebody's run. */
export function Cancel({ runId }: { runId: string }): ReactElement {
  return (
    <Act
      name="Cancel"
      about={`run ${brief(runId)}`}
      act={() => unwrap(netra.api.POST("/api/admin/runs/{run_id}/cancel", { params: { path: { run_id: runId } } }))}
    />
  );
}

export function StatusOf({ run }: { run: AnyRun }): ReactElement {
  const { approvals = 0, questions = 0 } = run;
  const waits = [approvals && `${approvals} to approve`, questions && `${questions} to answer`].filter(Boolean).join(", ");
  return (
    <span className={`status ${run.status}`}>
      {run.status}
      {waits && `: ${waits}`}
    </span>
  );
}

function took(run: AnyRun, now: string): number {
  return Math.max(0, Date.parse(run.ended_at ?? now) - Date.parse(run.created_at));
}

async function page(status: Status | "", cursor: string | null): Promise<Schemas["Listing_AnyRunShape_"]> {
  const query = { ...(status ? { status } : {}), ...(cursor === null ? {} : { cursor }) };
  return unwrap(netra.api.GET("/api/admin/runs", { params: { query } }));
}

