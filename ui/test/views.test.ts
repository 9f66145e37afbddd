import assert from "node:assert/strict"
import { test } from "node:test"
import { filtersOf, parseViews, without, withView } from "../src/state/views.ts"

const failed = { name: "Failed refunds", query: "status=error&name=process_refund" }
const mine = { name: "Mine", query: "created_by=ann" }

test("a view holds the filters of a page, and nothing else of its address", () => {
  const query = new URLSearchParams({ name: "process_refund", cursor: "7", status: "error", since: "" })
  assert.equal(filtersOf(query), failed.query)
  assert.equal(filtersOf(new URLSearchParams({ cursor: "7" })), "")
})

test("views are kept by name: one with the same name is replaced", () => {
  const views = withView(withView([], mine), failed)
  assert.deepEqual(views, [failed, mine])
  assert.deepEqual(withView(views, { ...mine, query: "tag=x" }), [failed, { ...mine, query: "tag=x" }])
  assert.deepEqual(without(views, "Mine"), [failed])
  assert.deepEqual(without(views, "none"), views)
})

test("what was stored is read again, and what is not a view is left out", () => {
  assert.deepEqual(parseViews(JSON.stringify([failed, mine])), [failed, mine])
  assert.deepEqual(parseViews(JSON.stringify([failed, null, 7, { name: "x" }, { name: 1, query: "tag=x" }])), [failed])
  assert.deepEqual(parseViews(JSON.stringify([{ name: "x", query: "javascript:alert(1)&tag=y" }])), [{ name: "x", query: "tag=y" }])
  for (const text of [null, "", "{", "7", "{}"]) assert.deepEqual(parseViews(text), [])
})
