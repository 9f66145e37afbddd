import assert from "node:assert/strict"
import { test } from "node:test"
import { layout } from "../src/draw/layout.ts"
import { endsOf, withoutMirror } from "../src/draw/mirror.ts"

const HEIGHT = 54
const step = (no: number, undoes: number | null = null) => ({ no, undoes })

test("a compensating step is below the one that it undoes, and the plan at the right", () => {
  const nodes = [step(1), step(2), step(3), step(4, 0), step(5, 2), step(6, 1)]
  const edges = [0, 1, 1, 2, 3, 4, 4, 5]
  const { graph, mirror } = withoutMirror(nodes, edges, HEIGHT)
  assert.deepEqual([3, [0, 1, 1, 2]], [graph.count, graph.edges])
  const { x, y, width, height, bends } = mirror(layout(graph))
  assert.deepEqual([x[1], x[0]], [x[4], x[5]])
  assert.ok(x[3]! > x[2]!)
  for (const at of [3, 4, 5]) assert.ok(y[at]! >= Math.max(y[0]!, y[1]!, y[2]!) + HEIGHT + 20)
  assert.ok(width > x[3]! && height >= y[3]! + HEIGHT)
  assert.equal(4, bends.length)
  const ends = endsOf({ x, y, width, height, bends }, 4, 5, HEIGHT)
  assert.ok(ends.back && ends.x0 > ends.x1)
})

test("steps that undo steps of one column do not overlap", () => {
  const nodes = [step(1), step(2), step(3, 1), step(4, 2)]
  const { graph, mirror } = withoutMirror(nodes, [], HEIGHT)
  const { y } = mirror(layout(graph))
  assert.ok(Math.abs(y[2]! - y[3]!) > HEIGHT)
})

test("a graph without compensation is laid out as it is", () => {
  const { graph, mirror } = withoutMirror([step(1), step(2)], [0, 1], HEIGHT)
  const placed = layout(graph)
  assert.equal(placed, mirror(placed))
})
