// Builds the UI into src/tasker/web/static/. `--watch` rebuilds on changes; `--check` builds elsewhere and
// compares: a fresh build must equal the committed one byte for byte.
import { createHash } from "node:crypto"
import { mkdtemp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import path from "node:path"
import * as esbuild from "esbuild"

const here = import.meta.dirname
const committed = path.join(here, "..", "src", "tasker", "web", "static")

const common = {
  absWorkingDir: here,
  bundle: true,
  minify: true,
  write: false,
  target: "es2022",
  legalComments: "none",
  logLevel: "warning",
  metafile: true,
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
}

const ENTRIES = ["src/theme.ts", "src/workers/layout.ts", "src/app.css", "src/main.tsx"]

async function build(out) {
  const files = new Map()
  const keep = (result) => {
    for (const file of result.outputFiles) files.set(path.basename(file.path), file.contents)
    return Object.entries(result.metafile.outputs)
      .filter(([, output]) => ENTRIES.includes(output.entryPoint))
      .map(([name]) => path.basename(name))
  }
  const outdir = path.join(here, "out") // nothing is written there
  const [theme] = keep(await esbuild.build({ ...common, outdir, entryPoints: ["src/theme.ts"], format: "iife" }))
  const [worker] = keep(
    await esbuild.build({ ...common, outdir, entryPoints: ["src/workers/layout.ts"], format: "iife" }),
  )
  const [style] = keep(await esbuild.build({ ...common, outdir, entryPoints: ["src/app.css"] }))
  const scripts = await esbuild.build({
    ...common,
    outdir,
    entryPoints: ["src/main.tsx"],
    format: "esm",
    splitting: true,
    define: { LAYOUT_WORKER: JSON.stringify(worker) },
  })
  const [main] = keep(scripts)
  const page = (await readFile(path.join(here, "src", "index.html"), "utf8"))
    .replaceAll("{theme}", theme)
    .replaceAll("{style}", style)
    .replaceAll("{main}", main)
    .replaceAll("{parts}", partsOf(scripts, main).map((name) => `<link rel="modulepreload" href="__BASE__/ui/assets/${name}">`).join("\n"))
  const sources = await digestOfSources()
  await rm(out, { recursive: true, force: true })
  await mkdir(path.join(out, "assets"), { recursive: true })
  for (const [name, contents] of files) await writeFile(path.join(out, "assets", name), contents)
  await writeFile(path.join(out, "index.html"), page)
  await writeFile(path.join(out, "THIRD-PARTY.txt"), await licences())
  await writeFile(path.join(out, "sources.sha256"), `${sources}\n`)
}

/** The files that a script imports at once, directly or not. */
function partsOf(result, main) {
  const outputs = new Map(Object.entries(result.metafile.outputs).map(([name, output]) => [path.basename(name), output]))
  const parts = []
  const visit = (name) => {
    for (const { path: file, kind } of outputs.get(name).imports) {
      const part = path.basename(file)
      if (kind !== "import-statement" || parts.includes(part)) continue
      parts.push(part)
      visit(part)
    }
  }
  visit(main)
  return parts.sort()
}

/** The digest of all that the build is made of; tests compare it where Node is missing. */
async function digestOfSources() {
  const names = ["build.mjs", "package.json", "package-lock.json", "tsconfig.json"]
  for (const entry of await readdir(path.join(here, "src"), { recursive: true, withFileTypes: true }))
    if (entry.isFile()) names.push(path.relative(here, path.join(entry.parentPath, entry.name)))
  const hash = createHash("sha256")
  for (const name of names.map((name) => name.replaceAll(path.sep, "/")).sort()) {
    hash.update(`${name}\0`).update(await readFile(path.join(here, name))).update("\0")
  }
  return hash.digest("hex")
}

async function licences() {
  const { dependencies } = JSON.parse(await readFile(path.join(here, "package.json"), "utf8"))
  const names = [...Object.keys(dependencies), "@preact/signals-core"].sort()
  const texts = ["The web UI contains these libraries.\n"]
  for (const name of names) {
    const folder = path.join(here, "node_modules", name)
    const { version } = JSON.parse(await readFile(path.join(folder, "package.json"), "utf8"))
    texts.push(`${name} ${version}\n\n${(await readFile(path.join(folder, "LICENSE"), "utf8")).trim()}\n`)
  }
  return texts.join("\n" + "-".repeat(78) + "\n\n")
}

async function listing(folder) {
  const found = new Map()
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const file = path.join(entry.parentPath, entry.name)
    found.set(path.relative(folder, file), await readFile(file))
  }
  return found
}

async function check() {
  const fresh = await mkdtemp(path.join(tmpdir(), "tasker-ui-"))
  try {
    await build(fresh)
    const [made, kept] = [await listing(fresh), await listing(committed)]
    const wrong = [...new Set([...made.keys(), ...kept.keys()])].filter(
      (name) => !made.get(name)?.equals(kept.get(name) ?? Buffer.alloc(0)),
    )
    if (wrong.length > 0) {
      console.error(`src/tasker/web/static differs from a fresh build: run make ui\n  ${wrong.sort().join("\n  ")}`)
      process.exitCode = 1
    }
  } finally {
    await rm(fresh, { recursive: true, force: true })
  }
}

const option = process.argv[2]
if (option === "--check") await check()
else await build(committed)
if (option === "--watch") {
  const { watch } = await import("node:fs")
  let timer
  watch(path.join(here, "src"), { recursive: true }, () => {
    clearTimeout(timer)
    timer = setTimeout(() => build(committed).then(() => console.log("built"), console.error), 50)
  })
  console.log("watching ui/src")
}
