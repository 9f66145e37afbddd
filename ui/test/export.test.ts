import assert from "node:assert/strict"
import { test } from "node:test"
import { mermaidOf, svgOf } from "../src/draw/export.ts"
import { layout } from "../src/draw/layout.ts"
import { pictureOf, pictureOfSteps } from "../src/state/picture.ts"
import type { StepSpec } from "../src/api/types.ts"

const step = (name: string, ...dependencies: string[]) => ({ name, dependencies, handler: name, retry: { max_attempts: 1 } }) as unknown as StepSpec
const picture = pictureOf(pictureOfSteps([step('<img src="x">'), step("b", '<img src="x">')]))

test("markup in names is text in a saved graph", () => {
  const placed = layout({ count: 2, heights: [54, 54], edges: picture.edges })
  const svg = svgOf({ picture, layout: placed, height: 54, captionOf: () => "a & b", curve: () => "M0 0" }, () => "red")
  assert.ok(!svg.includes("<img"))
  assert.equal(svg.match(/<rect /g)?.length, 3)
  assert.equal(svg.match(/<path /g)?.length, 1)
  assert.ok(svg.includes("a &amp; b"))
})

test("a graph is written as Mermaid", () => {
  assert.equal(mermaidOf(picture), 'flowchart LR\n  n0["<img src=#quot;x#quot;>"]\n  n1["b"]\n  n0 --> n1\n')
})
