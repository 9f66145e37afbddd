import assert from "node:assert/strict"
import { test } from "node:test"
import { makeScale, merge, niceStep, type Span } from "../src/draw/timescale.ts"

const busy: Span[] = [[0, 440], [450, 880], [3000, 3430], [41_000, 41_400]]

test("time never goes back, from end to end", () => {
  for (const compress of [true, false]) {
    const scale = makeScale(busy, [0, 42_000], 528, compress)
    let before = 0
    for (let ms = 0; ms <= 42_000; ms += 7) {
      const x = scale.at(ms)
      assert.ok(x >= before - 1e-9)
      before = x
    }
    assert.equal(scale.at(0), 0)
    assert.ok(Math.abs(scale.at(42_000) - 528) < 1e-6)
    assert.equal(scale.at(-5), 0)
    assert.ok(Math.abs(scale.at(99_999) - 528) < 1e-6)
  }
})

test("a position leads back to its instant", () => {
  const scale = makeScale(busy, [0, 42_000], 528, true)
  for (let ms = 0; ms <= 42_000; ms += 111) assert.ok(Math.abs(scale.invert(scale.at(ms)) - ms) < 1e-3)
})

test("long idle spans are short, and what ran is not", () => {
  const scale = makeScale(busy, [0, 42_000], 528, true)
  const idle = scale.pieces.filter((piece) => piece.idle)
  assert.deepEqual(idle.map(({ from, to }) => [from, to]), [[3430, 41_000]])
  assert.ok(idle[0]!.x1 - idle[0]!.x0 <= 56)
  const plain = makeScale(busy, [0, 42_000], 528, false)
  assert.ok(scale.at(440) > 5 * plain.at(440))
})

test("ticks lie in what is not idle, far enough apart", () => {
  const { ticks, pieces } = makeScale(busy, [0, 42_000], 528, true)
  assert.ok(ticks.length >= 3)
  for (const [no, { ms, x }] of ticks.entries()) {
    assert.ok(pieces.some((piece) => !piece.idle && piece.from <= ms && ms <= piece.to))
    if (no) assert.ok(x - ticks[no - 1]!.x > 30)
  }
})

test("a task that took no time has a scale", () => {
  const scale = makeScale([], [0, 0], 500, true)
  assert.ok(Number.isFinite(scale.at(0)) && scale.pieces.length > 0)
})

test("spans that touch are one", () => {
  assert.deepEqual(merge([[5, 9], [0, 2], [2, 4], [8, 12]]), [[0, 4], [5, 12]])
  assert.equal(niceStep(340), 500)
  assert.equal(niceStep(100_000_000), 172_800_000)
})
