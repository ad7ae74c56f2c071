/** The golden path's figures, as `GET /api/admin/service-levels` gives them. */
import { unwrap, type Schemas } from "@netra-apex/client";
import { netra } from "../session/netra";

export type ServiceLevels = Schemas["ServiceLevelsShape"];
export type Levels = Schemas["LevelsShape"];
export type Latency = Schemas["LatencyShape"] | null;
export type Part = Schemas["PartShape"];

export async function read(since: string): Promise<ServiceLevels> {
  const query = { since, points: 96, compare: true };
  return unwrap(netra.api.GET("/api/admin/service-levels", { params: { query } }));
}
