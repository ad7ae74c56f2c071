/** What goes wrong between a client and its server. Each carries its facts and writes its own sentence. */
export class ClientError extends Error {
  constructor(message: string) {
    super(message);
    this.name = new.target.name;
  }
}

/** The server refused a request or a frame; `code` is one of docs/reference/errors.md. */
export class RequestRefused extends ClientError {
  constructor(
    readonly code: string,
    readonly reason: string,
    readonly status: number | null = null,
  ) {
    super(`${reason} (${code})`);
  }
}

/** The server closed the socket for good: the same again would end the same. */
export class ConnectionRefused extends ClientError {
  constructor(
    readonly closeCode: number,
    readonly reason: string,
  ) {
    super(`the server refused the connection: ${reason} (${closeCode})`);
  }
}

/** No server was found for as long as the client is patient. */
export class ConnectionLost extends ClientError {
  constructor(
    readonly patienceSeconds: number,
    readonly reason: string,
  ) {
    super(`the connection was lost and did not come back within ${patienceSeconds} s: ${reason}`);
  }
}

/** The connection was closed by its user. */
export class ConnectionOver extends ClientError {
  constructor() {
    super("the connection is closed");
  }
}

/** The server broke the stream's contract: a gap, a duplicate, or something after the ending. */
export class StreamBroken extends ClientError {
  constructor(
    readonly runId: string,
    readonly expected: number | null,
    readonly got: number | null,
    readonly kind: string,
  ) {
    super(
      expected === null
        ? `the run ${runId} has ended, and then came ${kind}`
        : `the run ${runId} was to tell event ${expected} next, and told ${got} (${kind})`,
    );
  }
}
