/** How everything stands, every second, as the server tells it over one stream; and how it stood in the last minutes. */
import type { Schemas } from "@netra-apex/client";
import { netra } from "../session/netra";

export type Overview = Schemas["OverviewShape"];
export type RunState = Schemas["RunStateShape"];
export type Process = Schemas["ProcessShape"];
export type Problem = Pick<Schemas["ProblemShape"], "cause" | "since" | "executor"> & { kind: string };

/** One second of the charts. */
export interface Sample {
  at: number;
  running: number;
  queued: number;
  waiting: number;
  lag: number;
  memory: number;
}

const KEPT = 600;
const AGAIN_MS = 1000;

/** One stream for the whole page, which comes back by itself. What was known stays while the database is away. */
export class Live {
  overview: Overview | null = null;
  problems: Problem[] = [];
  samples: Sample[] = [];
  lostSince: string | null = null;
  version = 0;
  readonly #listeners = new Set<() => void>();
  #source: EventSource | null = null;
  #again: ReturnType<typeof setTimeout> | undefined;

  /** `onLogout` is called when the login has ended, or is an administrator's no more. */
  constructor(readonly onLogout: () => void) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly snapshot = (): number => this.version;

  open(): void {
    const source = new EventSource(new URL("api/admin/overview", document.baseURI));
    this.#source = source;
    source.onmessage = (message: MessageEvent<string>) => this.#take(JSON.parse(message.data) as Overview);
    source.onerror = () => {
      source.close();
      this.#lost();
    };
  }

  close(): void {
    this.#source?.close();
    clearTimeout(this.#again);
  }

  #take(overview: Overview): void {
    this.lostSince = null;
    // What nobody knows now is shown as it was.
    const { at, executor, problems } = overview;
    this.overview = overview.complete ? overview : { ...(this.overview ?? overview), at, executor, problems, complete: false };
    this.problems = overview.problems as Problem[];
    if (overview.complete) this.samples = [...this.samples.slice(1 - KEPT), sample(overview)];
    this.#changed();
  }

  #lost(): void {
    this.lostSince ??= new Date().toISOString();
    const cause = "The server does not answer: it ended, or the network is cut. What is shown is from before.";
    this.problems = [{ kind: "server", cause, since: this.lostSince }];
    this.#changed();
    this.#again = setTimeout(() => void this.#reopen(), AGAIN_MS);
  }

  async #reopen(): Promise<void> {
    // A stream that is refused does not say why: the login may have ended.
    const { data, response } = await netra.api.GET("/api/auth/me").catch(() => ({ data: undefined, response: undefined }));
    if (response?.status === 401 || (data !== undefined && !data.permissions.includes("admin"))) this.onLogout();
    else if (data === undefined) this.#lost();
    else this.open();
  }

  #changed(): void {
    this.version += 1;
    for (const listener of this.#listeners) listener();
  }
}

function sample(overview: Overview): Sample {
  const figures = overview.processes.map((each) => each.figures).filter((each) => each !== null && each !== undefined);
  const sum = (of: (load: Schemas["LoadShape"]) => number) => overview.loads.reduce((all, load) => all + of(load), 0);
  return {
    at: Date.parse(overview.at),
    running: sum((load) => load.running),
    queued: sum((load) => load.queued + load.left),
    waiting: sum((load) => load.waiting),
    lag: Math.max(0, ...figures.map((each) => each.lag_ms)),
    memory: figures.reduce((all, each) => all + (each.memory_bytes ?? 0), 0) / 2 ** 20,
  };
}
