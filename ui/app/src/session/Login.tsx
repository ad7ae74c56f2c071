import { RequestRefused } from "@netra-apex/client";
import { useState, type FormEvent, type ReactElement } from "react";
import { useLogin } from "./session";

/** The page of somebody who is not logged in. */
export function Login(): ReactElement {
  const { login } = useLogin();
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);

  async function submit(event: FormEvent<HTMLFormElement>): Promise<void> {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    setBusy(true);
    try {
      await login(String(form.get("username")), String(form.get("password")));
    } catch (error) {
      setProblem(error instanceof RequestRefused ? error.reason : String(error));
      setBusy(false);
    }
  }

  return (
    <main className="login">
      <form onSubmit={(event) => void submit(event)} aria-labelledby="login-title">
        <h1 id="login-title">Netra Apex</h1>
        <label>
          Name
          <input name="username" autoComplete="username" autoFocus required />
        </label>
        <label>
          Password
          <input name="password" type="password" autoComplete="current-password" required />
        </label>
        {problem !== null && <p role="alert">{problem}</p>}
        <button type="submit" disabled={busy}>
          Log in
        </button>
      </form>
    </main>
  );
}
