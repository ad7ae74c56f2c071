/** A user's side of a server: its HTTP interface, typed by its OpenAPI document, and connections. */
import createFetchClient, { type Client as FetchClient } from "openapi-fetch";
import type { components, paths } from "./api.js";
import { Connection, type ConnectionOptions } from "./connection.js";
import { RequestRefused } from "./errors.js";
import type { DurableEvent } from "./events.js";

export type Schemas = components["schemas"];

/** Where the server is, and who asks: in a browser the login's cookie, elsewhere a token. */
export interface ClientOptions {
  /** `https://host[:port][/root]`; in a browser the page's own origin unless given. */
  url?: string;
  /** A login's name and password, for programs; a browser logs in with `login` and has its cookie. */
  credentials?: { username: string; password: string };
  fetch?: typeof fetch;
  webSocket?: typeof WebSocket;
}

type Answered<T> = { data?: T; error?: unknown; response: Response };

/** One user's way to one server. `api` has every route, with the types of its requests and answers. */
export class Client {
  readonly api: FetchClient<paths>;
  readonly #url: string;
  readonly #options: ClientOptions;
  #token: Promise<string> | null = null;

  constructor(options: ClientOptions = {}) {
    this.#options = options;
    this.#url = (options.url ?? globalThis.location.origin).replace(/\/$/, "");
    this.api = createFetchClient<paths>({
      baseUrl: this.#url,
      credentials: "same-origin",
      ...(options.fetch ? { fetch: options.fetch } : {}),
    });
    this.api.use({
      onRequest: async ({ request, schemaPath }) => {
        if (options.credentials && schemaPath !== "/api/auth/login") {
          request.headers.set("Authorization", `Bearer ${await this.token()}`);
        }
        return request;
      },
    });
  }

  /** Logs in; in a browser the cookie stays. */
  async login(username: string, password: string): Promise<Schemas["TokenShape"]> {
    return unwrap(this.api.POST("/api/auth/login", { body: { username, password } }));
  }

  /** What a run has told after the event `after`, as its log has it. */
  async events(runId: string, after = 0): Promise<DurableEvent[]> {
    const params = { path: { run_id: runId }, query: { after } };
    const answer = await unwrap(this.api.GET("/api/runs/{run_id}/events", { params, parseAs: "json" }));
    // The document says of an event that it is an object; its shape is that of the socket's.
    return (answer as { events: unknown[] }).events as DurableEvent[];
  }

  /** Puts a file into a thread; a message of it may then bring it. */
  async upload(threadId: string, file: File): Promise<Schemas["UploadedShape"]> {
    const body = new FormData();
    body.append("file", file, file.name);
    const params = { path: { thread_id: threadId } };
    // The document says of a file that it is text, as it has no other word for it.
    return unwrap(this.api.POST("/api/threads/{thread_id}/files", { params, body: body as never }));
  }

  /** Where a file of a thread is read, for a link: a page of the server sends its cookie there. */
  fileUrl(threadId: string, fileId: string): string {
    return `${this.#url}/api/threads/${encodeURIComponent(threadId)}/files/${encodeURIComponent(fileId)}`;
  }

  /** A token of this client's credentials; `anew` where the last one was refused. */
  async token(anew = false): Promise<string> {
    const { credentials } = this.#options;
    if (!credentials) throw new TypeError("this client has no credentials: a browser's cookie says who it is");
    if (this.#token === null || anew) {
      const asked = this.login(credentials.username, credentials.password).then((login) => login.access_token);
      this.#token = asked;
      asked.catch(() => (this.#token = null));
    }
    return this.#token;
  }

  /** Opens a socket that comes back by itself. */
  connect(options: Pick<ConnectionOptions, "patience" | "onNotice"> = {}): Connection {
    const { credentials, webSocket } = this.#options;
    return new Connection({
      ...options,
      url: `${this.#url.replace(/^http/, "ws")}/ws`,
      token: credentials ? (anew) => this.token(anew) : null,
      renew: async () => {
        if (!credentials) await unwrap(this.api.POST("/api/auth/refresh"));
      },
      ...(webSocket ? { webSocket } : {}),
    });
  }
}

/**
 * The answer's data.
 *
 * @throws RequestRefused: the server's problem, with its code and sentence.
 */
export async function unwrap<T>(asked: Promise<Answered<T>>): Promise<T> {
  const { data, error, response } = await asked;
  if (response.ok) return data as T;
  const problem = (error ?? {}) as { code?: string; detail?: string; title?: string };
  const reason = problem.detail ?? problem.title ?? response.statusText;
  throw new RequestRefused(problem.code ?? "unreadable", reason, response.status);
}
