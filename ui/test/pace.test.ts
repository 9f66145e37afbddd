// How often a page asks the server.
import assert from "node:assert/strict"
import { test } from "node:test"
import { acceptedAge, pauseAfter, restAfter } from "../src/state/pace.ts"

test("a page asks at its own pace while answers are fast", () => {
  assert.equal(pauseAfter(2_000, 20), 2_000)
})

test("a page asks less often while answers are slow, but never stops", () => {
  assert.equal(pauseAfter(2_000, 1_000), 9_000)
  assert.equal(pauseAfter(2_000, 60_000), 15_000)
  assert.equal(pauseAfter(30_000, 60_000), 30_000)
})

test("a change is shown at once, unless the last answer took long", () => {
  assert.equal(restAfter(0), 0)
  assert.equal(restAfter(100), 900)
})

test("an accepted answer is newer than the one before", () => {
  for (const every of [1_000, 2_000, 5_000, 30_000]) assert.ok(acceptedAge(every) * 1_000 < every)
})
