import { unwrap } from "@netra-apex/client";
import { useQuery } from "@tanstack/react-query";
import { Clock } from "lucide-react";
import type { ReactElement } from "react";
import { netra } from "../session/netra";
import type { RunView } from "./view";

/** A run that has not begun: why it waits, and how many of the user's own wait before it, which changes meanwhile. */
export function Queued({ view }: { view: RunView }): ReactElement {
  const { data } = useQuery({
    queryKey: ["run", view.runId],
    queryFn: () => unwrap(netra.api.GET("/api/runs/{run_id}", { params: { path: { run_id: view.runId } } })),
    enabled: view.queued !== null,
    refetchInterval: 2000,
  });
  // What the reason says of the queue was so when the run came.
  const reason = view.queued?.split(";")[0];
  const ahead = data?.ahead ?? null;
  return (
    <p className="queued">
      <Clock aria-hidden size={14} /> {reason === undefined ? "Beginning…" : `Waits: ${reason}`}
      {ahead !== null && `; ${ahead === 0 ? "it is your next" : `${ahead} of yours before it`}`}
    </p>
  );
}
