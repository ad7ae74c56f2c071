import { unwrap, type Schemas } from "@netra-apex/client";
import { useInfiniteQuery, useQueryClient } from "@tanstack/react-query";
import type { ReactElement } from "react";
import { netra } from "../session/netra";
import type { User } from "../session/session";
import { Act } from "./Act";
import { day } from "./format";
import { Table } from "./Table";

type Account = Schemas["AccountShape"];

/** The accounts; who is disabled is logged out at once, while his runs go on unless they are cancelled. */
export function Users({ user }: { user: User }): ReactElement {
  const queries = useQueryClient();
  const users = useInfiniteQuery({
    queryKey: ["admin", "users"],
    queryFn: async ({ pageParam: cursor }) =>
      unwrap(netra.api.GET("/api/admin/users", { params: { query: { limit: 200, ...(cursor === null ? {} : { cursor }) } } })),
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.next_cursor,
    staleTime: Infinity,
  });
  const refresh = () => queries.invalidateQueries({ queryKey: ["admin", "users"] });
  return (
    <>
      <h2>Users</h2>
      <Table<Account>
        label="Users"
        rows={users.data?.pages.flatMap((each) => each.items) ?? []}
        keyOf={(each) => each.user_id}
        sorted={{ head: "Name", down: false }}
        empty={users.isPending ? "Looking…" : "There is none."}
        columns={[
          { head: "Name", value: (each) => each.username },
          { head: "State", value: (each) => (each.disabled ? "disabled" : "enabled"), cell: (each) => <span className={`status ${each.disabled ? "failed" : ""}`}>{each.disabled ? "disabled" : "enabled"}</span> },
          {
            head: "Act",
            value: () => null,
            cell: (each) => (each.user_id === user.user_id ? <small>yourself</small> : <Able key={String(each.disabled)} account={each} then={refresh} />),
          },
          { head: "Permissions", value: (each) => each.permissions.join(", ") },
          { head: "Since", value: (each) => each.created_at, cell: (each) => day(each.created_at) },
        ]}
      />
      {users.hasNextPage && (
        <button type="button" className="quiet" onClick={() => void users.fetchNextPage()}>
          More
        </button>
      )}
      {users.error && <p role="alert">{users.error.message}</p>}
    </>
  );
}

function Able({ account, then }: { account: Account; then: () => unknown }): ReactElement {
  const params = { path: { username: account.username } };
  return account.disabled ? (
    <Act name="Enable" about={account.username} then={then} act={() => unwrap(netra.api.POST("/api/admin/users/{username}/enable", { params }))} />
  ) : (
    <Act name="Disable" about={account.username} then={then} act={() => unwrap(netra.api.POST("/api/admin/users/{username}/disable", { params }))} />
  );
}
