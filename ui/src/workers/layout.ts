// Lays out graphs off the main thread.
import { layout, type Graph } from "../draw/layout.ts"

addEventListener("message", (event: MessageEvent<{ id: number; graph: Graph }>) => {
  postMessage({ id: event.data.id, layout: layout(event.data.graph) })
})
