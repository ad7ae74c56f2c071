import { useQueryClient } from "@tanstack/react-query";
import { ArrowLeft, CircleAlert } from "lucide-react";
import { useEffect, useState, useSyncExternalStore, type ReactElement } from "react";
import { Link, Redirect, Route, Switch, useLocation } from "wouter";
import type { User } from "../session/session";
import "./admin.css";
import { Audit } from "./Audit";
import { ago, brief, clock } from "./format";
import { Levels } from "./Levels";
import { Live, type Problem } from "./live";
import { Now } from "./Now";
import { Processes } from "./Processes";
import { Run } from "./Run";
import { Runs } from "./Runs";
import { Users } from "./Users";

const PAGES = [
  ["/admin", "Now"],
  ["/admin/levels", "Golden path"],
  ["/admin/runs", "Runs"],
  ["/admin/processes", "Processes"],
  ["/admin/users", "Users"],
  ["/admin/audit", "Audit"],
] as const;

/** What an operator has before him. One stream serves the whole page, and is one row in the audit. */
export default function Admin({ user }: { user: User }): ReactElement {
  const queries = useQueryClient();
  const [location] = useLocation();
  const [live] = useState(() => new Live(() => void queries.resetQueries()));
  useEffect(() => {
    live.open();
    return () => live.close();
  }, [live]);
  useSyncExternalStore(live.subscribe, live.snapshot);
  const { overview } = live;
  const section = PAGES.toReversed().find(([path]) => location === path || location.startsWith(`${path}/`));
  useEffect(() => {
    document.title = `${section?.[1] ?? "Operation"} · Netra Apex`;
    return () => void (document.title = "Netra Apex");
  }, [section]);
  return (
    <div className="admin">
      <header>
        <Link href="/" className="icon-button" aria-label="Back to the conversations" title="Back to the conversations">
          <ArrowLeft aria-hidden size={18} />
        </Link>
        <h1>Operation</h1>
        <nav aria-label="Operation">
          {PAGES.map(([path, name]) => (
            <Link key={path} href={path} aria-current={section?.[0] === path ? "page" : undefined}>
              {name}
            </Link>
          ))}
        </nav>
        <p className={live.lostSince === null ? "pulse" : "pulse lost"}>
          {live.lostSince === null ? overview && `Live, ${clock(overview.at)}` : `Lost at ${clock(live.lostSince)}`}
        </p>
      </header>
      <Problems problems={live.problems} now={overview?.at ?? new Date().toISOString()} />
      <main>
        {overview === null ? (
          <p className="hint" aria-busy="true">
            Looking…
          </p>
        ) : (
          <Switch>
            <Route path="/admin">
              <Now overview={overview} samples={live.samples} />
            </Route>
            <Route path="/admin/levels">
              <Levels overview={overview} />
            </Route>
            <Route path="/admin/runs">
              <Runs overview={overview} />
            </Route>
            <Route path="/admin/runs/:runId">{({ runId }) => <Run key={runId} runId={runId} overview={overview} />}</Route>
            <Route path="/admin/processes">
              <Processes overview={overview} />
            </Route>
            <Route path="/admin/users">
              <Users user={user} />
            </Route>
            <Route path="/admin/audit" component={Audit} />
            <Route>
              <Redirect to="/admin" replace />
            </Route>
          </Switch>
        )}
      </main>
    </div>
  );
}

const TITLES: Record<string, string> = {
  server: "Server away",
  database: "Database away",
  model: "Model does not answer",
  lost: "Process lost",
  silent: "Process silent",
  stalled: "Loop stalled",
  failing: "Runs fail",
  nobody: "Nobody takes work",
};

/** What is wrong now, said aloud when it comes. The region is there before anything is wrong, so that it is heard. */
function Problems({ problems, now }: { problems: Problem[]; now: string }): ReactElement {
  return (
    <ul className="problems" aria-label="Problems" aria-live="assertive" aria-relevant="additions" role="log">
      {problems.map(({ kind, cause, since, executor }) => (
        <li key={`${kind} ${executor ?? ""}`}>
          <CircleAlert aria-hidden size={16} />
          <span>
            <strong>{TITLES[kind] ?? kind}</strong>
            {executor && <code title={executor}> {brief(executor)}</code>}: {cause}
          </span>
          <span className="duration" aria-hidden>
            for {ago(since, now)}
          </span>
        </li>
      ))}
    </ul>
  );
}
