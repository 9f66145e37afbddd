import assert from "node:assert/strict"
import { test } from "node:test"
import { apiQuery, command, FILTERS, formatFilter, parseFilter, parseSpan } from "../src/state/filters.ts"

test("what is shown of a filter is read as the same filter", () => {
  for (const { key } of FILTERS) {
    const filter = { key, value: key === "attribute" ? "order_id=A-17" : "some: text, with marks" }
    assert.deepEqual(parseFilter(formatFilter(filter)), filter)
  }
})

test("plain text is the name of a workflow, and name=value an attribute", () => {
  assert.deepEqual(parseFilter(" process_refund "), { key: "name", value: "process_refund" })
  assert.deepEqual(parseFilter("order_id=A-17"), { key: "attribute", value: "order_id=A-17" })
  assert.deepEqual(parseFilter("error code: UNAVAILABLE"), { key: "error_code", value: "UNAVAILABLE" })
  assert.equal(parseFilter("   "), null)
  assert.equal(parseFilter("tag:"), null)
})

test("spans are numbers with a unit", () => {
  assert.deepEqual(["90s", "15m", "24h", "7d", "1 h", "h", "-1h", "1w"].map(parseSpan), [
    90, 900, 86_400, 604_800, 3600, null, null, null,
  ])
})

test("a span becomes a time, and the command names the same filters", () => {
  const query = new URLSearchParams({ since: "1h", status: "error", created_by: "ann o'neill" })
  const now = Date.parse("2026-11-29T01:00:00Z")
  assert.equal(apiQuery(query, now)["created_after"], "2026-11-29T00:00:00.000Z")
  assert.equal(
    command(query, now),
    "tasker task list --status error --since 2026-11-29T00:00:00.000Z --created-by 'ann o'\\''neill'",
  )
})
