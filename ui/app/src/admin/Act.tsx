import { useState, type ReactElement } from "react";

/** Something that is done to others: it is asked for twice, as nobody should do it by a slip. */
export function Act(props: { name: string; about: string; act: () => Promise<unknown>; then?: () => unknown }): ReactElement {
  const { name, about, act, then } = props;
  const [state, setState] = useState<"idle" | "sure" | "busy" | "done">("idle");
  const [problem, setProblem] = useState<string | null>(null);

  async function go(): Promise<void> {
    setState("busy");
    setProblem(null);
    try {
      await act();
      setState("done");
      await then?.();
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
    setState((now) => (now === "busy" ? "idle" : now));
  }

  if (state === "sure") {
    return (
      <span className="act" onKeyDown={(event) => event.key === "Escape" && setState("idle")}>
        <button type="button" className="danger" autoFocus onClick={() => void go()} aria-label={`Really ${name.toLowerCase()} ${about}`}>
          Really {name.toLowerCase()}
        </button>
        <button type="button" className="quiet" onClick={() => setState("idle")}>
          No
        </button>
      </span>
    );
  }
  return (
    <span className="act">
      <button type="button" className="quiet" disabled={state === "busy"} aria-label={`${name} ${about}`} onClick={() => setState("sure")}>
        {state === "busy" || state === "done" ? `${name}: asked` : name}
      </button>
      {problem !== null && <span role="alert">{problem}</span>}
    </span>
  );
}
