import assert from "node:assert/strict"
import { test } from "node:test"
import { keepApart, layout, NODE_WIDTH, rankNodes } from "../src/draw/layout.ts"

/** A generator of numbers in [0, 1) that a seed determines. */
function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

function randomGraph(seed: number, most: number) {
  const next = random(seed)
  const count = 1 + Math.floor(next() * most)
  const edges: number[] = []
  for (let child = 1; child < count; child++)
    for (let p = 0; p < 1 + Math.floor(next() * 2); p++) {
      if (next() < 0.85) edges.push(Math.floor(next() * child), child)
    }
  const heights = Array.from({ length: count }, () => 40 + Math.floor(next() * 40))
  return { count, edges, heights }
}

test("ranks rise along every edge, and nodes do not overlap", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const graph = randomGraph(seed, 80)
    const { x, y, width, height } = layout(graph)
    for (let e = 0; e < graph.edges.length; e += 2)
      assert.ok(x[graph.edges[e]!]! + NODE_WIDTH <= x[graph.edges[e + 1]!]!, `seed ${seed}`)
    for (let a = 0; a < graph.count; a++) {
      assert.ok(y[a]! >= -1e-6 && x[a]! + NODE_WIDTH <= width + 1e-6 && y[a]! + graph.heights[a]! <= height + 1e-6)
      for (let b = a + 1; b < graph.count; b++) {
        if (x[a] !== x[b]) continue
        const apart = y[a]! < y[b]! ? y[b]! - y[a]! - graph.heights[a]! : y[a]! - y[b]! - graph.heights[b]!
        assert.ok(apart >= 10, `seed ${seed}: ${a} and ${b} are ${apart} apart`)
      }
    }
  }
})

test("an edge that passes ranks bends in each of them", () => {
  const { bends } = layout({ count: 4, edges: [0, 1, 1, 2, 2, 3, 0, 3], heights: [50, 50, 50, 50] })
  assert.deepEqual(bends.map((each) => each.length), [0, 0, 0, 2])
})

test("a chain is straight, and a diamond is symmetric", () => {
  const chain = layout({ count: 4, edges: [0, 1, 1, 2, 2, 3], heights: [50, 50, 50, 50] })
  assert.equal(new Set(chain.y.map(Math.round)).size, 1)
  const { y } = layout({ count: 4, edges: [0, 1, 0, 2, 1, 3, 2, 3], heights: [50, 50, 50, 50] })
  assert.ok(Math.abs(y[0]! - y[3]!) < 1 && Math.abs(y[1]! + y[2]! - 2 * y[0]!) < 1)
})

test("the same graph has the same layout, and statuses do not move nodes", () => {
  const graph = randomGraph(7, 60)
  assert.deepEqual(layout(graph), layout(graph))
})

test("a cycle, which no template has, still ends", () => {
  assert.deepEqual(rankNodes(3, [0, 1, 1, 2, 2, 1]), [0, 1, 0])
})

test("positions keep order and distance, and stay where nothing is in the way", () => {
  for (let seed = 1; seed <= 200; seed++) {
    const next = random(seed)
    const wanted = Array.from({ length: 1 + Math.floor(next() * 20) }, () => next() * 300)
    const placed = keepApart(wanted, wanted.map(() => 1), () => 10)
    for (let i = 1; i < placed.length; i++) assert.ok(placed[i]! - placed[i - 1]! >= 10 - 1e-9)
  }
  assert.deepEqual(keepApart([0, 100, 300], [1, 1, 1], () => 50), [0, 100, 300])
  assert.deepEqual(keepApart([0, 0], [1, 1], () => 50), [-25, 25])
})

test("ten thousand nodes take under two seconds", () => {
  const next = random(3)
  const edges: number[] = []
  for (let no = 100; no < 10_000; no++) {
    const rank = Math.floor(no / 100)
    edges.push((rank - 1) * 100 + Math.floor(next() * 100), no)
    if (next() < 0.5) edges.push((rank - 1) * 100 + Math.floor(next() * 100), no)
  }
  const began = process.cpuUsage()
  layout({ count: 10_000, edges, heights: new Array<number>(10_000).fill(54) })
  const took = process.cpuUsage(began).user / 1000
  console.log(`10,000 nodes: ${took.toFixed(0)} ms of CPU`)
  assert.ok(took < 2000)
})
