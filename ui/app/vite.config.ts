import react from "@vitejs/plugin-react";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

// The server that `npm run dev` passes requests on to.
const target = process.env.NETRA_URL ?? "http://127.0.0.1:8000";

/** Puts a compressed file beside each: the server sends what is there, and compresses nothing itself. */
const compressed: Plugin = {
  name: "compressed",
  apply: "build",
  async writeBundle({ dir }) {
    const assets = join(dir!, "assets");
    const files = (await readdir(assets)).filter((name) => /\.(js|css)$/.test(name));
    const pack = promisify(gzip);
    for (const name of files) {
      const file = join(assets, name);
      await writeFile(`${file}.gz`, await pack(await readFile(file), { level: 9 }));
    }
  },
};

export default defineConfig({
  plugins: [react(), compressed],
  // Relative, so that the app works under any NETRA_ROOT_PATH.
  base: "./",
  resolve: { alias: { "@netra-apex/client": fileURLToPath(new URL("../client/src/index.ts", import.meta.url)) } },
  build: { outDir: "../../src/netra_apex/server/web", emptyOutDir: true, sourcemap: false, target: "es2023" },
  server: { proxy: { "/api": { target }, "/ws": { target, ws: true } } },
});
