// Where compensating steps are drawn: mirrored, each below the step that it undoes, from right to left.
import type { StepNode } from "../state/picture.ts"
import { NODE_WIDTH, type Graph, type Layout } from "./layout.ts"

const BAND = 44 // pixels between the steps and those that undo them
const GAP = 26

type Nodes = readonly Pick<StepNode, "no" | "undoes">[]

/** The graph without the compensating steps, and what places these once that graph is laid out. */
export function withoutMirror(nodes: Nodes, edges: readonly number[], height: number): { graph: Graph; mirror: (forward: Layout) => Layout } {
  const forward = [...nodes.keys()].filter((at) => nodes[at]!.undoes === null)
  const position = new Map(forward.map((at, i) => [at, i]))
  const kept: number[] = []
  const edgeOf = new Map<number, number>()
  for (let e = 0; e < edges.length; e += 2) {
    const [from, to] = [position.get(edges[e]!), position.get(edges[e + 1]!)]
    if (from === undefined || to === undefined) continue
    edgeOf.set(e / 2, kept.length / 2)
    kept.push(from, to)
  }
  const graph = { count: forward.length, heights: forward.map(() => height), edges: kept }
  const mirror = (layout: Layout): Layout => {
    if (forward.length === nodes.length) return layout
    const [x, y] = [new Array<number>(nodes.length).fill(0), new Array<number>(nodes.length).fill(0)]
    for (const [i, at] of forward.entries()) [x[at], y[at]] = [layout.x[i]!, layout.y[i]!]
    const byNo = new Map([...nodes.entries()].map(([at, node]) => [node.no, at]))
    const rows = new Map<number, number>()
    for (const [at, node] of nodes.entries()) {
      if (node.undoes === null) continue
      const undone = byNo.get(node.undoes)
      x[at] = node.undoes && undone !== undefined ? x[undone]! : layout.width + BAND
      const row = rows.get(x[at]) ?? 0
      rows.set(x[at], row + 1)
      y[at] = layout.height + BAND + row * (height + GAP)
    }
    return {
      width: Math.max(...x) + NODE_WIDTH,
      height: Math.max(...y) + height,
      x,
      y,
      bends: Array.from({ length: edges.length / 2 }, (_, e) => layout.bends[edgeOf.get(e) ?? -1] ?? []),
    }
  }
  return { graph, mirror }
}

/** Where an edge leaves its parent and reaches its child: to the right, or for what undoes others to the left. */
export function endsOf(layout: Layout, from: number, to: number, height: number): { x0: number; y0: number; x1: number; y1: number; back: boolean } {
  const back = layout.x[to]! < layout.x[from]!
  return {
    x0: layout.x[from]! + (back ? 0 : NODE_WIDTH),
    y0: layout.y[from]! + height / 2,
    x1: layout.x[to]! + (back ? NODE_WIDTH + 4 : -4),
    y1: layout.y[to]! + height / 2,
    back,
  }
}
