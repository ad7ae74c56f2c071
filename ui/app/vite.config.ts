import react from "@vitejs/plugin-react";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

// The server that `npm run dev` passes requests on to.
const target = process.env.NETRA_URL ?? "http://127.0.0.1:8000";

export default defineConfig({
  plugins: [react()],
  // Relative, so that the app works under any NETRA_ROOT_PATH.
  base: "./",
  resolve: { alias: { "@netra-apex/client": fileURLToPath(new URL("../client/src/index.ts", import.meta.url)) } },
  build: { outDir: "../../src/netra_apex/server/web", emptyOutDir: true, sourcemap: false, target: "es2023" },
  server: { proxy: { "/api": { target }, "/ws": { target, ws: true } } },
});
