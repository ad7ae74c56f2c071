import type { ReactElement } from "react";
import { Login } from "./session/Login";
import { useUser } from "./session/session";
import { Workspace } from "./Workspace";

/** The whole page: a login, or the workspace of who is logged in. */
export function App(): ReactElement {
  const { user, error } = useUser();
  if (error !== null) return <main className="notice" role="alert">{`The server does not answer: ${error.message}`}</main>;
  if (user === undefined) return <main className="notice" aria-busy="true" />;
  // Keyed by the user: nothing of one login is left in the page for the next.
  return user === null ? <Login /> : <Workspace key={user.user_id} user={user} />;
}
