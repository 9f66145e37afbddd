import assert from "node:assert/strict"
import { test } from "node:test"
import type { SnapshotGroup, SnapshotView } from "../src/api/types.ts"
import { pictureAt, pictureOf } from "../src/state/picture.ts"

interface Listed {
  no: number
  name: string
  parents?: number[]
  group?: string
  status?: string
}

function snapshotOf(steps: Listed[], groups: SnapshotGroup[]): SnapshotView {
  const of = <T>(value: (step: Listed) => T) => steps.map(value)
  const none = of(() => null)
  return {
    mark: null, now: 0, no: of((one) => one.no), name: of((one) => one.name), status: of((one) => one.status ?? "complete"),
    handler: of(() => 0), handlers: ["h"], attempts: of(() => 1), counted_attempts: of(() => 1), max_attempts: of(() => 1), enqueued: none, run_at: none, claimed: none, settled: none,
    worker: none, error: none, group: of((one) => one.group ?? null), waits_for: none, undoes: none, parents: of((one) => one.parents ?? []),
    paused: of(() => false), no_worker: of(() => false), workers: [], errors: [], groups, history: [], child_tasks: [],
    task: { ended_at: new Date(0).toISOString(), created_at: new Date(0).toISOString() },
  } as unknown as SnapshotView
}

function groupOf(first: number, label: string, parents: number[], children: number[]): SnapshotGroup {
  return { id: `g${first}`, label, handler: "h", count: 20, by_status: { complete: 20 }, parents, children, first, claimed: null, settled: null }
}

function linksOf(snapshot: SnapshotView): string[] {
  const { nodes, edges } = pictureOf(snapshot)
  return Array.from({ length: edges.length / 2 }, (_, at) => `${nodes[edges[2 * at]!]!.key} > ${nodes[edges[2 * at + 1]!]!.key}`).sort()
}

const FETCH = groupOf(5, "work[].fetch", [2], [6])
const PACK = groupOf(6, "work[].pack", [5], [3])
const AROUND: Listed[] = [{ no: 1, name: "list" }, { no: 2, name: "work.map", parents: [1] }, { no: 3, name: "work" }, { no: 4, name: "end", parents: [3] }]
const BETWEEN = ["g5 > g6", "g6 > work", "list > work.map", "work > end", "work.map > g5"]

test("groups of one map are between its first and its last step, one behind the other", () => {
  assert.deepEqual(linksOf(snapshotOf(AROUND, [FETCH, PACK])), BETWEEN)
})

test("a failed step beside its group stands where the group does", () => {
  const fetch = { no: 7, name: "work[1].fetch", parents: [2], group: "g5", status: "error" }
  assert.deepEqual(linksOf(snapshotOf([...AROUND, fetch], [FETCH, PACK])), [...BETWEEN, "work.map > work[1].fetch", "work[1].fetch > g6"].sort())
  const pack = { no: 8, name: "work[1].pack", group: "g6", status: "error" }
  assert.deepEqual(linksOf(snapshotOf([...AROUND, pack], [FETCH, PACK])), [...BETWEEN, "g5 > work[1].pack"].sort())
})

test("a picture as of a time shows what had happened until then", () => {
  const snapshot = snapshotOf([{ no: 1, name: "fetch", status: "complete" }, { no: 2, name: "pack", status: "pending", parents: [1] }], [])
  Object.assign(snapshot, { enqueued: [0, null], claimed: [70, null], settled: [90, null], attempts: [2, 0], counted_attempts: [2, 0] })
  const attempt = { no: 1, worker: null, error: null }
  snapshot.history.push(
    { ...attempt, attempt: 1, outcome: "retry", enqueued: 0, claimed: 10, settled: 30 },
    { ...attempt, attempt: 2, outcome: "complete", enqueued: 60, claimed: 70, settled: 90 },
  )
  const statusAt = (ms: number) => pictureAt(pictureOf(snapshot), ms).nodes.map((node) => node.status)
  assert.deepEqual([5, 20, 40, 80, 95].map((ms) => statusAt(ms)[0]), ["enqueued", "in_progress", "waiting_for_retry", "in_progress", "complete"])
  assert.equal(statusAt(95)[1], "pending")
  const countedAt = (ms: number) => pictureAt(pictureOf(snapshot), ms).nodes[0]?.countedAttempts
  assert.deepEqual([5, 20, 40, 80, 95].map(countedAt), [0, 1, 1, 2, 2])
  snapshot.history[0]!.outcome = "parked"
  assert.deepEqual([5, 20, 40, 80].map(countedAt), [0, 1, 0, 1])
})
