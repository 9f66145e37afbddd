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

export interface CurrentStep {
  step: string
  status: string
  attempts: number
  run_at: string | null
  type: string | null
  code: string | null
}

export interface TaskView {
  current: CurrentStep | null
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

export interface FailureCause {
  fingerprint: string
  namespace: string
  name: string
  step: string
  type: string
  code: string | null
  message: string
  tasks: number
  attempts: number
  first_at: string
  last_at: string
  trend: number[]
  sample: string
}

export interface Spread {
  average: number
  p50: number
  p95: number
  p99: number
}

export interface Performance {
  total_tasks: number
  active_tasks: number
  completed_tasks: number
  failed_tasks: number
  cancelled_tasks: number
  error_rate: number
  task_duration: Spread
  tasks_per_hour: number
  steps_per_hour: number
  analysis_period_start: string
}

export interface TaskFigures {
  namespace: string
  name: string
  version: string
  average_duration_seconds: number
  max_duration_seconds: number
  execution_count: number
  error_count: number
  last_executed_at: string
}

export interface Utilization {
  due_steps: number
  scheduled_steps: number
  running_steps: number
  steps_without_worker: number
}

export interface Bottlenecks {
  slow_tasks: TaskFigures[]
  utilization: Utilization
}

export interface WorkerInfo {
  id: number
  name: string
  started_at: string
  lease_until: string
  alive: boolean
  running: number
  slots: number
  handlers: string[]
  process: { host: string; pid: number; labels: Record<string, string>; build: string; sdk: string; principal: string }
}

export interface WorkerList {
  workers: WorkerInfo[]
}

export interface QueueView {
  namespace: string
  handler: string
  weight: number
  due: number
  scheduled: number
  running: number
  paused: number
  pauses: Pause[]
}

export interface QueueList {
  queues: QueueView[]
}

export interface TemplateSummary {
  namespace: string
  name: string
  version: string
  full_name: string
  description: string
  status: string
  step_count: number
  registered_by: string
  registered_at: string
}

export interface TemplateList {
  templates: TemplateSummary[]
}

export interface StepSpec {
  no: number
  name: string
  description: string
  handler: string
  dependencies: string[]
  timeout_seconds: number | null
  retry: { retryable: boolean; max_attempts: number; backoff: string; initial_delay_seconds: number; max_delay_seconds: number }
}

export interface TemplateView {
  namespace: string
  name: string
  version: string
  full_name: string
  description: string
  status: string
  registered_by: string
  registered_at: string
  deadline_seconds: number | null
  input_schema: Record<string, unknown> | null
  steps: StepSpec[]
}

export interface TemplateVersion {
  namespace: string
  name: string
  version: string
  full_name: string
  status: string
  registered_by: string
  registered_at: string
  decided_by: string | null
  decided_at: string | null
  reason: string
}

export interface TemplateVersionList {
  versions: TemplateVersion[]
}

export interface TeamEvent {
  id: number
  at: string
  namespace: string | null
  subject: string
  actor: string
  action: string
  reason: string
}

export interface TeamAudit {
  events: TeamEvent[]
  next_cursor: number | null
}
