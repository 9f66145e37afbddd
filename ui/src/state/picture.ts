// The steps of a task as the three views show them: one by one, or many of one shape as one.
import type { SnapshotAttempt, SnapshotError, SnapshotGroup, SnapshotView, StepSpec } from "../api/types.ts"

export interface StepNode {
  key: string
  no: number
  name: string
  status: string
  handler: string
  attempts: number
  countedAttempts: number
  maxAttempts: number
  enqueued: number | null
  runAt: number | null
  claimed: number | null
  settled: number | null
  worker: string | null
  error: SnapshotError | null
  paused: boolean
  noWorker: boolean
  waitsFor: string | null
  /** Of a compensating step: the number of the step that it undoes; 0: it plans the others. */
  undoes: number | null
  parents: string[]
  children: string[]
  /** Attempts that ended, oldest first. */
  history: SnapshotAttempt[]
  /** Set where the node stands for many steps. */
  group: SnapshotGroup | null
  memberOf: string | null
}

export interface Picture {
  snapshot: SnapshotView
  nodes: StepNode[]
  byKey: Map<string, StepNode>
  /** Pairs of positions in `nodes`. */
  edges: number[]
  /** Milliseconds from the task's creation to its end, or until now. */
  end: number
}

export function pictureOf(snapshot: SnapshotView): Picture {
  const nodes: StepNode[] = snapshot.no.map((no, at) => ({
    key: snapshot.name[at]!,
    no,
    name: snapshot.name[at]!,
    status: snapshot.status[at]!,
    handler: snapshot.handlers[snapshot.handler[at]!] ?? "",
    attempts: snapshot.attempts[at]!,
    countedAttempts: snapshot.counted_attempts[at]!,
    maxAttempts: snapshot.max_attempts[at]!,
    enqueued: snapshot.enqueued[at]!,
    runAt: snapshot.run_at[at]!,
    claimed: snapshot.claimed[at]!,
    settled: snapshot.settled[at]!,
    worker: snapshot.worker[at] === null ? null : (snapshot.workers[snapshot.worker[at]!] ?? null),
    error: snapshot.error[at] === null ? null : (snapshot.errors[snapshot.error[at]!] ?? null),
    paused: snapshot.paused[at]!,
    noWorker: snapshot.no_worker[at]!,
    waitsFor: snapshot.waits_for[at]!,
    undoes: snapshot.undoes[at]!,
    parents: [],
    children: [],
    history: [],
    group: null,
    memberOf: snapshot.group[at]!,
  }))
  const byNo = new Map(nodes.map((node) => [node.no, node]))
  for (const attempt of snapshot.history) byNo.get(attempt.no)?.history.push(attempt)

  const listed = new Map<string, number>()
  for (const group of snapshot.group) if (group) listed.set(group, (listed.get(group) ?? 0) + 1)
  for (const group of snapshot.groups) {
    if ((listed.get(group.id) ?? 0) < group.count) nodes.push(groupNode(group, listed.get(group.id) ?? 0))
  }
  nodes.sort((a, b) => a.no - b.no || (a.group ? 1 : -1))
  const position = new Map(nodes.map((node, at) => [node, at]))
  const edges: number[] = []
  const linked = new Set<number>()
  const link = (parent: StepNode, child: StepNode) => {
    const [from, to] = [position.get(parent)!, position.get(child)!]
    const pair = from * nodes.length + to
    if (linked.has(pair) || parent === child) return
    linked.add(pair)
    if (child.undoes !== parent.no) edges.push(from, to) // what undoes a step is drawn below it
    parent.children.push(child.key)
    child.parents.push(parent.key)
  }
  // The number of a group's first step stands for the group: for its node, and for its steps that are listed.
  const shown = new Map<string, StepNode[]>()
  for (const node of nodes) {
    const id = node.group?.id ?? node.memberOf
    if (!id) continue
    const others = shown.get(id)
    if (others) others.push(node)
    else shown.set(id, [node])
  }
  const groups = new Map(snapshot.groups.map((group) => [group.id, group]))
  const firsts = new Map(snapshot.groups.map((group) => [group.first, group.id]))
  const nodesOf = (no: number): StepNode[] => {
    const id = firsts.get(no)
    const step = byNo.get(no)
    return id ? (shown.get(id) ?? []) : step ? [step] : []
  }
  for (const [at, parents] of snapshot.parents.entries()) {
    const child = byNo.get(snapshot.no[at]!)!
    for (const no of parents) {
      const parent = byNo.get(no)
      if (parent) link(parent, child)
    }
    const group = parents.length === 0 && child.memberOf ? groups.get(child.memberOf) : null
    for (const no of group?.parents ?? []) for (const parent of nodesOf(no)) link(parent, child)
  }
  for (const node of nodes) {
    if (!node.group) continue
    for (const no of node.group.parents) for (const parent of nodesOf(no)) link(parent, node)
    for (const no of node.group.children) if (byNo.has(no)) link(node, byNo.get(no)!)
  }
  const ended = snapshot.task.ended_at
  const end = ended ? Date.parse(ended) - Date.parse(snapshot.task.created_at) : snapshot.now
  return { snapshot, nodes, byKey: new Map(nodes.map((node) => [node.key, node])), edges, end }
}

const WORST = ["error", "waiting_for_retry", "in_progress", "enqueued", "waiting", "pending", "cancelled", "skipped"]

function groupNode(group: SnapshotGroup, listed: number): StepNode {
  const status = WORST.find((one) => one !== "error" && one !== "waiting_for_retry" && group.by_status[one]) ?? "complete"
  return {
    key: group.id,
    no: group.first,
    name: `${group.label} × ${(group.count - listed).toLocaleString("en")}`,
    status,
    handler: group.handler,
    attempts: 0,
    countedAttempts: 0,
    maxAttempts: 0,
    enqueued: null,
    runAt: null,
    claimed: group.claimed,
    settled: group.settled,
    worker: null,
    error: null,
    paused: false,
    noWorker: false,
    waitsFor: null,
    undoes: null,
    parents: [],
    children: [],
    history: [],
    group,
    memberOf: null,
  }
}

/** The picture as of a time, in milliseconds since the task was created; made from the attempts. */
export function pictureAt(picture: Picture, ms: number): Picture {
  const nodes = picture.nodes.map((node) => (node.group ? groupAt(node, node.group, ms) : stepAt(node, ms)))
  const { snapshot } = picture
  const task = { ...snapshot.task, ended_at: null } // so that its timeline shows where that time is
  return { ...picture, snapshot: { ...snapshot, task }, nodes, byKey: new Map(nodes.map((node) => [node.key, node])) }
}

function groupAt(node: StepNode, group: SnapshotGroup, ms: number): StepNode {
  if (node.settled !== null && node.settled <= ms) return node
  const begun = node.claimed !== null && node.claimed <= ms
  const status = begun ? "in_progress" : "pending"
  return { ...node, status, claimed: begun ? node.claimed : null, settled: null, group: { ...group, by_status: { [status]: group.count } } }
}

const AFTER: Record<string, string> = { retry: "waiting_for_retry", lost: "waiting_for_retry", parked: "waiting", released: "enqueued", spawned: "waiting" }

/** Outcomes of attempts that do not count towards the most attempts. */
const UNCOUNTED = ["lost", "released", "parked", "spawned"]

function stepAt(node: StepNode, ms: number): StepNode {
  const history = node.history.filter((one) => one.settled <= ms)
  const next = node.history[history.length]
  const since = node.settled ?? (node.status === "in_progress" ? node.claimed : node.enqueued)
  if (!next && since !== null && since <= ms) return node
  const [enqueued, claimed] = next ? [next.enqueued, next.claimed] : [node.enqueued, node.claimed]
  const counted = history.filter((one) => !UNCOUNTED.includes(one.outcome)).length
  const past = { ...node, history, settled: null, error: null, noWorker: false, paused: false, waitsFor: null, attempts: history.length, countedAttempts: counted }
  if (claimed !== null && claimed <= ms) return { ...past, status: "in_progress", attempts: history.length + 1, countedAttempts: counted + 1, enqueued, claimed }
  const last = history.at(-1)
  if (last) return { ...past, status: AFTER[last.outcome] ?? last.outcome, enqueued, claimed: last.claimed, runAt: enqueued, error: node.error }
  return { ...past, status: enqueued !== null && enqueued <= ms ? "enqueued" : "pending", enqueued, claimed: null }
}

/** Seconds that a step ran, over all attempts; the one in progress until `now`. */
export function ranFor(node: StepNode, now: number): number {
  let ms = 0
  for (const one of node.history) if (one.claimed !== null) ms += one.settled - one.claimed
  if (node.status === "in_progress" && node.claimed !== null) ms += Math.max(0, now - node.claimed)
  if (node.group && node.claimed !== null) ms = (node.settled ?? now) - node.claimed
  return ms / 1000
}

/** The steps on the longest way to the end: from the last that ended back to the parent that ended last. */
export function criticalPath(picture: Picture): Set<string> {
  const path = new Set<string>()
  const endOf = (node: StepNode) => node.settled ?? (node.claimed !== null ? Infinity : -1)
  let at: StepNode | undefined = picture.nodes.filter((node) => endOf(node) >= 0).sort((a, b) => endOf(b) - endOf(a))[0]
  while (at && !path.has(at.key)) {
    path.add(at.key)
    at = at.parents
      .map((key) => picture.byKey.get(key)!)
      .sort((a, b) => endOf(b) - endOf(a))[0]
  }
  return path
}

/** The steps of a template, as if a task of it had not started, or with a status each. */
export function pictureOfSteps(steps: readonly StepSpec[], status: readonly string[] = steps.map(() => "enqueued")): SnapshotView {
  const numbers = new Map(steps.map((step, at) => [step.name, at + 1]))
  const none = steps.map(() => null)
  return {
    mark: null, now: 0, no: steps.map((_, at) => at + 1), name: steps.map((step) => step.name), status: [...status],
    handler: steps.map((_, at) => at), handlers: steps.map((step) => step.handler), attempts: steps.map(() => 0), counted_attempts: steps.map(() => 0), max_attempts: steps.map((step) => step.retry.max_attempts),
    enqueued: none, run_at: none, claimed: none, settled: none, worker: none, error: none, group: none, waits_for: none, undoes: none,
    parents: steps.map((step) => step.dependencies.map((one) => numbers.get(one)!).filter(Boolean)),
    paused: steps.map(() => false), no_worker: steps.map(() => false), workers: [], errors: [], groups: [], history: [], child_tasks: [],
    task: { ended_at: new Date(0).toISOString(), created_at: new Date(0).toISOString() } as SnapshotView["task"],
  }
}
