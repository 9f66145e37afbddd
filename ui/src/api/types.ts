// What the pages read of the API's answers. A test compares the fields with the API's description.

export interface SessionView {
  name: string | null
  team: string | null
  roles: string[]
  auth: boolean
  methods: string[]
  csrf: string | null
  expires_at: string | null
  now: string
  version: string
  permissions: Record<string, string[]>
}

export interface StepCounts {
  pending: number
  enqueued: number
  waiting_for_retry: number
  no_worker: number
  in_progress: number
  waiting: number
  complete: number
  error: number
  cancelled: number
  skipped: number
  resolved_manually: number
}

export interface Pause {
  kind: string
  namespace: string
  name: string
  paused_at: string
  paused_by: string
  reason: string
}

export interface Failure {
  step: string
  type: string
  message: string
  code: string | null
}

export interface TaskView {
  id: string
  namespace: string
  name: string
  version: string
  full_name: string
  status: string
  execution_status: string
  correlation_id: string
  parent_id: string | null
  created_by: string
  reason: string
  tags: string[]
  title: string | null
  attributes: Record<string, string>
  created_at: string
  updated_at: string
  ended_at: string | null
  deadline: string | null
  counts: StepCounts
  pauses: Pause[]
  context: Record<string, unknown>
  result: unknown
  failure: Failure | null
}

export interface TaskList {
  tasks: TaskView[]
  pagination: { next_cursor: string | null; has_next: boolean; limit: number }
}

export interface NamespacePolicy {
  namespace: string
  owner_team: string
  contact_email: string
  description: string
  requires_approval: boolean
  approvers: string[]
  updated_by: string
  updated_at: string | null
}

export interface NamespaceInfo {
  name: string
  policy: NamespacePolicy | null
  templates: number
  approved: number
  pending_review: number
  rejected: number
  retired: number
}

export interface NamespaceList {
  namespaces: NamespaceInfo[]
}

export interface SnapshotError {
  type: string | null
  code: string | null
  message: string
}

export interface SnapshotGroup {
  id: string
  label: string
  handler: string
  count: number
  by_status: Record<string, number>
  parents: number[]
  children: number[]
  first: number
  claimed: number | null
  settled: number | null
}

export interface SnapshotAttempt {
  no: number
  attempt: number
  outcome: string
  enqueued: number | null
  claimed: number | null
  settled: number
  worker: number | null
  error: number | null
}

export interface SnapshotChild {
  id: string
  full_name: string
  status: string
}

export interface TaskSummaryView {
  id: string
  namespace: string
  name: string
  version: string
  full_name: string
  status: string
  execution_status: string
  correlation_id: string
  parent_id: string | null
  created_by: string
  reason: string
  tags: string[]
  title: string | null
  attributes: Record<string, string>
  created_at: string
  ended_at: string | null
  deadline: string | null
  counts: StepCounts
  pauses: Pause[]
}

export interface SnapshotView {
  mark: string | null
  now: number
  task: TaskSummaryView
  no: number[]
  name: string[]
  status: string[]
  handler: number[]
  attempts: number[]
  max_attempts: number[]
  enqueued: (number | null)[]
  run_at: (number | null)[]
  claimed: (number | null)[]
  settled: (number | null)[]
  worker: (number | null)[]
  error: (number | null)[]
  parents: number[][]
  group: (string | null)[]
  paused: boolean[]
  no_worker: boolean[]
  waits_for: (string | null)[]
  handlers: string[]
  workers: string[]
  errors: SnapshotError[]
  groups: SnapshotGroup[]
  history: SnapshotAttempt[]
  child_tasks: SnapshotChild[]
}

export interface Reason {
  code: string
  blocking: boolean
  text: string
  step: string | null
  until: string | null
  task: string | null
  worker: string | null
  actor: string | null
}

export interface Step {
  no: number
  name: string
  handler: string
  status: string
  ready: boolean
  no_worker: boolean
  no_worker_reason: string | null
  dependencies: string[]
  attempts: number
  counted_attempts: number
  lost_attempts: number
  max_attempts: number
  enqueued_at: string | null
  run_at: string | null
  claimed_at: string | null
  settled_at: string | null
  worker: string | null
  error: Record<string, unknown> | null
  result: unknown
  checkpoint: unknown
}

export interface AuditEntry {
  step: string | null
  at: string
  actor: string
  action: string
  reason: string
  before: string
  after: string
}
