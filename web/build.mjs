// Bundles the page: node build.mjs [PLANNER.wasm]. Writes dist/report.js, one classic script without
// imports, so that a page opened from a file runs it, and dist/planner.txt, the planner in base64.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

// The worker is a text in the script: a page opened from a file can start no other.
const worker = await build({ entryPoints: ["src/what_if_worker.js"], bundle: true, minify: true, format: "iife", target: ["es2020"], write: false });

await build({
  entryPoints: ["src/main.js"],
  outfile: "dist/report.js",
  bundle: true,
  minify: true,
  format: "iife",
  target: ["es2020"],
  charset: "utf8",
  legalComments: "none",
  define: { WORKER_SCRIPT: JSON.stringify(worker.outputFiles[0].text) },
  banner: {
    js: "/* Holds Observable Plot (ISC, Copyright 2020-2023 Observable, Inc.), D3 (ISC, Copyright 2010-2023 Mike Bostock), interval-tree-1d (MIT, Copyright 2014 Mikola Lysenko) and isoformat (ISC, Copyright 2020 Observable, Inc.) */",
  },
});

const [planner] = process.argv.slice(2);
if (planner) {
  mkdirSync("dist", { recursive: true });
  writeFileSync("dist/planner.txt", gzipSync(readFileSync(planner), { level: 9 }).toString("base64"));
}
