// What a browser reads before the page works, compressed: `index.html` and everything that it names.
import { readFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";

const MOST = 300 * 1024;
const built = new URL("../../src/netra_apex/server/web/", import.meta.url);
const page = await readFile(new URL("index.html", built), "utf8");
const named = [...page.matchAll(/(?:src|href)="\.\/(assets\/[^"]+)"/g)].map(([, name]) => name);
const files = await Promise.all(["index.html", ...named].map((name) => readFile(new URL(name, built))));
const size = files.reduce((sum, file) => sum + gzipSync(file, { level: 9 }).length, 0);
console.log(`The first load is ${(size / 1024).toFixed(0)} KiB compressed, of ${MOST / 1024} that it may be.`);
if (named.length === 0 || size > MOST) process.exit(1);
