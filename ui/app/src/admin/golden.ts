/** The golden path's figures, as `GET /api/admin/service-levels` gives them. */
import { RequestRefused } from "@netra-apex/client";

export type Latency = { p50: number; p95: number; p99: number } | null;
export interface Levels {
  runs: number; good: number; bad: number; excluded: number; success_rate: number | null; users: number;
  queued_ms: Latency; first_event_ms: Latency; first_token_ms: Latency; completion_ms: Latency;
  tool_calls: number; tool_failures: number; input_tokens: number; output_tokens: number; requests: number; cost_usd: number | null;
}
export interface Part {
  name: string | null; runs: number; good: number; bad: number; excluded: number; success_rate: number | null; tool_calls: number;
  tool_failures: number; input_tokens: number; output_tokens: number; requests: number; cost_usd: number | null;
}
export interface ServiceLevels {
  since: string; until: string; bucket_seconds: number; golden_path: { limit_seconds: number; objective: number };
  total: Levels; before: Levels | null; series: (Levels & { at: string })[]; agents: Part[]; models: Part[]; users: Part[];
  failures: { cause: string; runs: number; counted: boolean; message: string }[];
  events: { type: string; due: number; told: number; rate: number | null }[];
  burn_rates: { window: string; seconds: number; good: number; bad: number; burn_rate: number | null }[];
}

export async function read(since: string): Promise<ServiceLevels> {
  const url = new URL("api/admin/service-levels", document.baseURI);
  url.search = new URLSearchParams({ since, points: "96", compare: "true" }).toString();
  const response = await fetch(url);
  if (!response.ok) throw new RequestRefused("unreadable", response.statusText, response.status);
  return (await response.json()) as ServiceLevels;
}
