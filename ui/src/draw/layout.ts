// A layered layout of a directed acyclic graph, from left to right: ranks by the longest path, order within a
// rank by barycentres, positions by the least squares that keep that order. Works on plain arrays, so that ten
// thousand nodes take a moment; the worker calls it off the main thread.

export interface Graph {
  /** Number of nodes; they are 0 to count - 1. */
  count: number
  /** Heights of nodes, in pixels. */
  heights: ArrayLike<number>
  /** Pairs of parent and child. */
  edges: ArrayLike<number>
}

export interface Layout {
  width: number
  height: number
  /** Left and upper corner of each node. */
  x: number[]
  y: number[]
  /** For each edge the points between its ends: where it passes the ranks in between. */
  bends: [x: number, y: number][][]
}

export const NODE_WIDTH = 176
const COLUMN = NODE_WIDTH + 44
const ROW_GAP = 26
const BEND_GAP = 16
const SWEEPS = 8

export function layout(graph: Graph): Layout {
  const { count, edges } = graph
  const ranks = rankNodes(count, edges)
  const last = ranks.reduce((most, rank) => Math.max(most, rank), 0)

  // Edges that pass ranks get a bend in each of them, unless they would be too many.
  const heights = Array.from({ length: count }, (_, no) => graph.heights[no] ?? 54)
  const rankOf = [...ranks]
  const segments: number[] = []
  const bendsOf: number[][] = []
  let passing = 0
  for (let e = 0; e < edges.length; e += 2) passing += Math.max(0, ranks[edges[e + 1]!]! - ranks[edges[e]!]! - 1)
  const withBends = passing <= Math.max(2000, 4 * count)
  for (let e = 0; e < edges.length; e += 2) {
    const [parent, child] = [edges[e]!, edges[e + 1]!]
    const bends: number[] = []
    let from = parent
    if (withBends) {
      for (let rank = ranks[parent]! + 1; rank < ranks[child]!; rank++) {
        const bend = heights.length
        heights.push(0)
        rankOf.push(rank)
        bends.push(bend)
        segments.push(from, bend)
        from = bend
      }
      segments.push(from, child)
    }
    bendsOf.push(bends)
  }
  const layers: number[][] = Array.from({ length: last + 1 }, () => [])
  const [ups, downs] = neighbours(heights.length, withBends ? segments : [...Array.from(edges)])
  for (const node of inDepthOrder(heights.length, ups, downs)) layers[rankOf[node]!]!.push(node)
  orderLayers(layers, ups, downs)
  const y = placeLayers(layers, ups, downs, heights, count)

  const top = Math.min(...y.slice(0, count), 0)
  const x = ranks.map((rank) => rank * COLUMN)
  let height = 0
  for (let no = 0; no < count; no++) {
    y[no]! -= top
    height = Math.max(height, y[no]! + heights[no]!)
  }
  return {
    width: last * COLUMN + NODE_WIDTH,
    height,
    x,
    y: y.slice(0, count),
    bends: bendsOf.map((bends) => bends.map((bend) => [rankOf[bend]! * COLUMN + NODE_WIDTH / 2, y[bend]! - top])),
  }
}

/** The longest path from a root to each node. Nodes on a cycle, which templates do not have, keep rank 0. */
export function rankNodes(count: number, edges: ArrayLike<number>): number[] {
  const [ups, downs] = neighbours(count, edges)
  const missing = ups.map((each) => each.length)
  const ranks = new Array<number>(count).fill(0)
  const queue: number[] = []
  for (let no = 0; no < count; no++) if (!missing[no]) queue.push(no)
  for (let at = 0; at < queue.length; at++) {
    const node = queue[at]!
    for (const child of downs[node]!) {
      ranks[child] = Math.max(ranks[child]!, ranks[node]! + 1)
      if (--missing[child]! === 0) queue.push(child)
    }
  }
  return ranks
}

function neighbours(count: number, edges: ArrayLike<number>): [ups: number[][], downs: number[][]] {
  const ups: number[][] = Array.from({ length: count }, () => [])
  const downs: number[][] = Array.from({ length: count }, () => [])
  for (let e = 0; e < edges.length; e += 2) {
    downs[edges[e]!]!.push(edges[e + 1]!)
    ups[edges[e + 1]!]!.push(edges[e]!)
  }
  return [ups, downs]
}

/** Nodes as a walk from the roots meets them, which keeps what belongs together side by side. */
function inDepthOrder(count: number, ups: number[][], downs: number[][]): number[] {
  const seen = new Uint8Array(count)
  const order: number[] = []
  for (let root = 0; root < count; root++) {
    if (ups[root]!.length || seen[root]) continue
    const stack = [root]
    while (stack.length) {
      const node = stack.pop()!
      if (seen[node]) continue
      seen[node] = 1
      order.push(node)
      const children = downs[node]!
      for (let c = children.length - 1; c >= 0; c--) if (!seen[children[c]!]) stack.push(children[c]!)
    }
  }
  for (let no = 0; no < count; no++) if (!seen[no]) order.push(no)
  return order
}

function orderLayers(layers: number[][], ups: number[][], downs: number[][]): void {
  const place = new Float64Array(ups.length)
  const number = () => {
    for (const layer of layers) for (let i = 0; i < layer.length; i++) place[layer[i]!] = i
  }
  number()
  const small = ups.length <= 2000
  let best = small ? countCrossings(layers, downs, place) : 0
  let kept = small ? layers.map((layer) => [...layer]) : null
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const forward = sweep % 2 === 0
    const links = forward ? ups : downs
    const turn = forward ? layers : [...layers].reverse()
    for (const layer of turn) {
      const centre = new Map<number, number>()
      for (const node of layer) {
        const linked = links[node]!
        let sum = 0
        for (const other of linked) sum += place[other]!
        centre.set(node, linked.length ? sum / linked.length : place[node]!)
      }
      layer.sort((a, b) => centre.get(a)! - centre.get(b)! || place[a]! - place[b]!)
      for (let i = 0; i < layer.length; i++) place[layer[i]!] = i
    }
    if (!kept) continue
    const crossings = countCrossings(layers, downs, place)
    if (crossings < best) {
      best = crossings
      kept = layers.map((layer) => [...layer])
    }
    if (best === 0) break
  }
  if (kept) for (const [no, layer] of kept.entries()) layers[no]!.splice(0, layers[no]!.length, ...layer)
}

/** Crossings between neighbouring layers, counted with a tree of sums. */
export function countCrossings(layers: number[][], downs: number[][], place: ArrayLike<number>): number {
  let crossings = 0
  for (const [no, layer] of layers.entries()) {
    const size = (layers[no + 1]?.length ?? 0) + 1
    const tree = new Int32Array(size + 1)
    let total = 0
    for (const node of layer) {
      const targets = downs[node]!.map((child) => place[child]!).sort((a, b) => a - b)
      for (const target of targets) {
        let upTo = 0
        for (let i = target + 1; i > 0; i -= i & -i) upTo += tree[i]!
        crossings += total - upTo
      }
      for (const target of targets) {
        total++
        for (let i = target + 1; i <= size; i += i & -i) tree[i]!++
      }
    }
  }
  return crossings
}

/** The upper edge of each node; nodes of a layer keep their order and distance, and lie near their neighbours. */
function placeLayers(layers: number[][], ups: number[][], downs: number[][], heights: number[], count: number): number[] {
  const middle = new Array<number>(heights.length).fill(0)
  const gap = (a: number, b: number) =>
    (heights[a]! + heights[b]!) / 2 + (a >= count || b >= count ? BEND_GAP : ROW_GAP)
  for (const layer of layers) {
    let at = 0
    for (const [i, node] of layer.entries()) {
      if (i > 0) at += gap(layer[i - 1]!, node)
      middle[node] = at
    }
    for (const node of layer) middle[node]! -= at / 2
  }
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const forward = sweep % 2 === 1
    const links = forward ? ups : downs
    for (const layer of forward ? layers : [...layers].reverse()) {
      const wanted = layer.map((node) => {
        const linked = sweep >= SWEEPS - 2 ? [...ups[node]!, ...downs[node]!] : links[node]!
        if (!linked.length) return middle[node]!
        let sum = 0
        for (const other of linked) sum += middle[other]!
        return sum / linked.length
      })
      const weights = layer.map((node) => (node >= count ? 4 : 1))
      const placed = keepApart(wanted, weights, (i) => gap(layer[i - 1]!, layer[i]!))
      for (const [i, node] of layer.entries()) middle[node] = placed[i]!
    }
  }
  return middle.map((at, node) => at - heights[node]! / 2)
}

/**
 * Positions nearest to the wanted ones (least squares) with each at least `gap(i)` after the one before:
 * neighbours that would overlap are merged into blocks that move as one.
 */
export function keepApart(wanted: number[], weights: number[], gap: (i: number) => number): number[] {
  const offsets = [0]
  for (let i = 1; i < wanted.length; i++) offsets.push(offsets[i - 1]! + gap(i))
  const blocks: { sum: number; weight: number; size: number }[] = []
  for (const [i, want] of wanted.entries()) {
    let block = { sum: (want - offsets[i]!) * weights[i]!, weight: weights[i]!, size: 1 }
    let before = blocks.at(-1)
    while (before && before.sum / before.weight > block.sum / block.weight) {
      blocks.pop()
      block = { sum: before.sum + block.sum, weight: before.weight + block.weight, size: before.size + block.size }
      before = blocks.at(-1)
    }
    blocks.push(block)
  }
  const placed: number[] = []
  for (const block of blocks)
    for (let i = 0; i < block.size; i++) placed.push(block.sum / block.weight + offsets[placed.length]!)
  return placed
}
