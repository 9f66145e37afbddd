import assert from "node:assert/strict"
import { test } from "node:test"
import { contextOf, fieldsOf } from "../src/state/forms.ts"

const SCHEMA = {
  type: "object",
  required: ["order"],
  properties: {
    order: { type: "string", title: "Order" },
    amount: { type: "number", default: 3 },
    count: { type: "integer" },
    card: { type: "string", enum: ["good", "stolen"], default: "good" },
    gift: { type: "boolean" },
    lines: { type: "array" },
  },
}

test("fields have the kind of their schema", () => {
  const fields = fieldsOf(SCHEMA)!
  assert.deepEqual(fields.map(({ kind }) => kind), ["text", "number", "integer", "choice", "boolean", "json"])
  assert.deepEqual(fields.map(({ required }) => required), [true, false, false, false, false, false])
  assert.equal(fieldsOf(null), null)
  assert.equal(fieldsOf({ type: "string" }), null)
})

test("what is entered becomes a context; empty fields are left out", () => {
  const { context, faults } = contextOf(fieldsOf(SCHEMA)!, { order: "A-1", count: "2", gift: "false", lines: "[1]" })
  assert.deepEqual(context, { order: "A-1", amount: 3, count: 2, card: "good", gift: false, lines: [1] })
  assert.deepEqual(faults, {})
})

test("each wrong field says what is wrong", () => {
  const { faults } = contextOf(fieldsOf(SCHEMA)!, { amount: "x", count: "1.5", lines: "[" })
  assert.deepEqual(faults, { order: "is required", amount: "must be a number", count: "must be a whole number", lines: "must be JSON" })
})
