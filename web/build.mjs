// Bundles the page's script: node build.mjs. Writes dist/report.js, one classic script without
// imports, so that a page opened from a file runs it.
import { build } from "esbuild";

await build({
  entryPoints: ["src/main.js"],
  outfile: "dist/report.js",
  bundle: true,
  minify: true,
  format: "iife",
  target: ["es2020"],
  charset: "utf8",
  legalComments: "none",
  banner: {
    js: "/* Holds Observable Plot (ISC, Copyright 2020-2023 Observable, Inc.), D3 (ISC, Copyright 2010-2023 Mike Bostock), interval-tree-1d (MIT, Copyright 2014 Mikola Lysenko) and isoformat (ISC, Copyright 2020 Observable, Inc.) */",
  },
});
