import { defineConfig } from "vitest/config";

// A bound for what hangs, on a machine that does much else; no measure of speed.
export default defineConfig({ test: { testTimeout: 60_000, hookTimeout: 60_000 } });
