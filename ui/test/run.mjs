// Runs the unit tests: bundles each with esbuild, as Node 20 reads no TypeScript.
import { spawnSync } from "node:child_process"
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { buildSync } from "esbuild"

const here = import.meta.dirname
const out = mkdtempSync(path.join(tmpdir(), "tasker-ui-tests-"))
try {
  buildSync({
    absWorkingDir: here,
    entryPoints: readdirSync(here).filter((name) => name.endsWith(".test.ts")),
    bundle: true,
    platform: "node",
    format: "esm",
    outExtension: { ".js": ".mjs" },
    outdir: out,
    sourcemap: "inline",
    jsx: "automatic",
    jsxImportSource: "preact",
  })
  const files = readdirSync(out).map((name) => path.join(out, name))
  const { status } = spawnSync(process.execPath, ["--enable-source-maps", "--test", ...files], { stdio: "inherit" })
  process.exitCode = status ?? 1
} finally {
  rmSync(out, { recursive: true, force: true })
}
