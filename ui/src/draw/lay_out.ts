// Asks the worker for a layout; small graphs are laid out at once.
import { layout, type Graph, type Layout } from "./layout.ts"

const AT_ONCE = 200 // nodes
let worker: Worker | null = null
let asked = 0
const waiting = new Map<number, (layout: Layout) => void>()

interface Policy {
  createScriptURL: (url: string) => string
}

/** Workers need an address that a policy vouches for; this is the only one that the page may name. */
function workerUrl(): string {
  const url = new URL(LAYOUT_WORKER, import.meta.url).href
  const types = (globalThis as { trustedTypes?: { createPolicy: (name: string, rules: Policy) => Policy } }).trustedTypes
  return types ? types.createPolicy("tasker", { createScriptURL: (text) => text }).createScriptURL(url) : url
}

function started(): Worker {
  if (!worker) {
    worker = new Worker(workerUrl())
    worker.addEventListener("message", (event: MessageEvent<{ id: number; layout: Layout }>) => {
      waiting.get(event.data.id)?.(event.data.layout)
      waiting.delete(event.data.id)
    })
  }
  return worker
}

export function layOut(graph: Graph, done: (layout: Layout) => void): () => void {
  if (graph.count <= AT_ONCE) {
    done(layout(graph))
    return () => {}
  }
  const id = ++asked
  waiting.set(id, done)
  started().postMessage({ id, graph })
  return () => waiting.delete(id)
}
