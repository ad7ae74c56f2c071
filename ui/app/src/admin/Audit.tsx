import { unwrap, type Schemas } from "@netra-apex/client";
import { useInfiniteQuery } from "@tanstack/react-query";
import type { ReactElement } from "react";
import { netra } from "../session/netra";
import { day } from "./format";
import { Table } from "./Table";

type Entry = Schemas["AuditShape"];

/** What administrators did and looked at, the latest first. */
export function Audit(): ReactElement {
  const audit = useInfiniteQuery({
    queryKey: ["admin", "audit"],
    queryFn: async ({ pageParam: cursor }) =>
      unwrap(netra.api.GET("/api/admin/audit", { params: { query: { limit: 100, ...(cursor === null ? {} : { cursor }) } } })),
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.next_cursor,
    gcTime: 0,
    staleTime: Infinity,
  });
  return (
    <>
      <h2>Audit</h2>
      <Table<Entry>
        label="Audit"
        rows={audit.data?.pages.flatMap((each) => each.items) ?? []}
        keyOf={(each) => each.audit_id}
        empty={audit.isPending ? "Looking…" : "There is nothing."}
        columns={[
          { head: "When", value: (each) => each.at, cell: (each) => day(each.at) },
          { head: "Who", value: (each) => each.actor },
          { head: "What", value: (each) => each.action.replaceAll("_", " ") },
          { head: "About", value: (each) => each.subject ?? null },
          { head: "Details", value: (each) => details(each), cell: (each) => <code>{details(each)}</code> },
          { head: "In run", value: (each) => each.run_id ?? null, cell: (each) => each.run_id && <code>{each.run_id}</code> },
        ]}
      />
      {audit.hasNextPage && (
        <button type="button" className="quiet" onClick={() => void audit.fetchNextPage()}>
          More
        </button>
      )}
      {audit.error && <p role="alert">{audit.error.message}</p>}
    </>
  );
}

function details(entry: Entry): string {
  return Object.entries(entry.details)
    .map(([name, value]) => `${name} ${String(value)}`)
    .join(", ");
}
