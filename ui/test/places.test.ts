import assert from "node:assert/strict"
import { test } from "node:test"
import { layout, NODE_WIDTH } from "../src/draw/layout.ts"
import { Places } from "../src/draw/places.ts"

const HEIGHT = 54
const edges = Array.from({ length: 200 }, (_, no) => [Math.floor(no / 3), no + 1]).flat()
const placed = layout({ count: 201, edges, heights: Array<number>(201).fill(HEIGHT) })
const places = new Places(placed, HEIGHT)

test("the node at a point is the one drawn there", () => {
  for (let no = 0; no < 201; no++) {
    const [x, y] = [placed.x[no]!, placed.y[no]!]
    assert.equal(no, places.at(x + NODE_WIDTH / 2, y + HEIGHT / 2))
    assert.equal(null, places.at(x + NODE_WIDTH + 10, y + HEIGHT / 2))
    assert.equal(no, places.at(x + NODE_WIDTH + 2, y + HEIGHT / 2, 4))
  }
})

test("a rectangle contains the nodes that touch it", () => {
  const [left, top, right, bottom] = [100, 500, 900, 3000]
  const touches = (no: number) =>
    placed.x[no]! >= left - NODE_WIDTH && placed.x[no]! <= right && placed.y[no]! >= top - HEIGHT && placed.y[no]! <= bottom
  const expected = placed.x.map((_, no) => no).filter(touches)
  assert.deepEqual(expected, places.within(left, top, right, bottom).sort((a, b) => a - b))
  assert.ok(expected.length > 5)
})

test("nodes of a column follow one another", () => {
  const [first] = places.within(placed.x[200]!, -Infinity, placed.x[200]!, Infinity)
  const next = places.beside(first!, 1)!
  assert.ok(placed.y[next]! > placed.y[first!]!)
  assert.equal(first, places.beside(next, -1))
  assert.equal(null, places.beside(first!, -1))
})
