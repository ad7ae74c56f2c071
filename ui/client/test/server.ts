/** A real server in a process of its own, and a relay in front of it whose sockets can be cut. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createConnection, createServer, type AddressInfo, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const NETRA = process.env.NETRA_COMMAND ?? resolve(import.meta.dirname, "../../../.venv/bin/netra");
export const PASSWORD = "correct horse battery";

/** Serves the built-in team; `stop` ends it, `start` has it again on the same port and database. */
export class Server {
  #process: ChildProcess | null = null;

  private constructor(
    readonly home: string,
    readonly port: number,
  ) {}

  static async begin(users: readonly string[]): Promise<Server> {
    const server = new Server(await mkdtemp(join(tmpdir(), "netra-")), await freePort());
    for (const user of users) await server.#netra(["user", "add", user, "--password-stdin"], `${PASSWORD}\n`);
    await server.start();
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    this.#process = spawn(NETRA, ["serve", "--port", String(this.port)], { env: this.#env, stdio: "ignore" });
    for (let tries = 0; tries < 300; tries += 1) {
      const answer = await fetch(`${this.url}/readyz`).catch(() => null);
      if (answer?.ok) return;
      await new Promise((wake) => setTimeout(wake, 100));
    }
    throw new Error("the server did not start within 30 s");
  }

  async stop(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const stopping = this.#process;
    this.#process = null;
    if (stopping === null || stopping.exitCode !== null) return;
    stopping.kill(signal);
    await once(stopping, "exit");
  }

  async end(): Promise<void> {
    await this.stop();
    await rm(this.home, { recursive: true, force: true });
  }

  get #env(): NodeJS.ProcessEnv {
    return { ...process.env, NETRA_HOME: this.home };
  }

  async #netra(args: readonly string[], input: string): Promise<void> {
    const command = spawn(NETRA, args, { env: this.#env, stdio: ["pipe", "ignore", "inherit"] });
    command.stdin.end(input);
    const [code] = await once(command, "exit");
    if (code !== 0) throw new Error(`netra ${args.join(" ")} ended with ${code}`);
  }
}

/** Passes everything on to `port` until it is told to cut. */
export class Relay {
  readonly #pairs = new Set<Socket>();
  readonly #listening = createServer((near) => {
    const far = createConnection(this.target, "127.0.0.1");
    for (const socket of [near, far]) {
      this.#pairs.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => this.#pairs.delete(socket));
    }
    near.on("close", () => far.destroy());
    far.on("close", () => near.destroy());
    near.pipe(far).pipe(near);
  });

  constructor(readonly target: number) {}

  async listen(): Promise<string> {
    this.#listening.listen(0, "127.0.0.1");
    await once(this.#listening, "listening");
    return `http://127.0.0.1:${(this.#listening.address() as AddressInfo).port}`;
  }

  cut(): void {
    for (const socket of this.#pairs) socket.destroy();
  }

  end(): void {
    this.#listening.close();
    this.cut();
  }
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  return port;
}
