import { lazy, Suspense, type ReactElement } from "react";
import { Route, Router, Switch } from "wouter";
import { useHashLocation } from "wouter/use-hash-location";
import { Login } from "./session/Login";
import { useUser } from "./session/session";
import { Workspace } from "./Workspace";

const Admin = lazy(() => import("./admin/Admin"));
// The page's other address, of which people and their bookmarks know.
if (/\/admin$/.test(location.pathname)) history.replaceState(null, "", `./${location.hash || "#/admin"}`);

/** The whole page: a login, or the workspace of who is logged in. */
export function App(): ReactElement {
  const { user, error } = useUser();
  if (error !== null) return <main className="notice" role="alert">{`The server does not answer: ${error.message}`}</main>;
  if (user === undefined) return <main className="notice" aria-busy="true" />;
  // Keyed by the user: nothing of one login is left in the page for the next.
  if (user === null) return <Login />;
  return (
    <Router key={user.user_id} hook={useHashLocation}>
      <Switch>
        {user.permissions.includes("admin") && (
          <Route path="/admin/*?">
            <Suspense fallback={<main className="notice" aria-busy="true" />}>
              <Admin user={user} />
            </Suspense>
          </Route>
        )}
        <Route>
          <Workspace user={user} />
        </Route>
      </Switch>
    </Router>
  );
}
