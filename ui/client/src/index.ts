export { Client, unwrap, type ClientOptions, type Schemas } from "./client.js";
export { Connection, type ConnectionOptions, type MessageOptions } from "./connection.js";
export {
  ClientError,
  ConnectionLost,
  ConnectionOver,
  ConnectionRefused,
  RequestRefused,
  StreamBroken,
} from "./errors.js";
export type * from "./events.js";
export { isEnding, type Ending, type OtherEvent, type RunFrame } from "./following.js";
export { LiveRun, type Frame, type Notice } from "./run.js";
