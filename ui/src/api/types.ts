// What the pages read of the API's answers. A test compares the fields with the API's description.

export interface SessionView {
  name: string | null
  team: string | null
  roles: string[]
  groups: string[]
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
  uncounted: number
}

export interface Pause {
  kind: string
  namespace: string
  name: string
  paused_at: string
  paused_by: string
  reason: string
}

export interface TaskFailure {
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
  failure: TaskFailure | null
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
  http_hosts: string[]
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
  counted_attempts: number[]
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
  undoes: (number | null)[]
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

export interface LogRecord {
  step: string | null
  attempt: number
  number: number
  at: string
  level: string
  source: string
  message: string
  fields: Record<string, unknown>
}

export interface LogPage {
  records: LogRecord[]
  next_cursor: string | null
  link: string | null
}

export interface RevealedTask {
  context: unknown
  steps: { name: string; result: unknown }[]
}

export interface AuditEntry {
  step: string | null
  at: string
  actor: string
  action: string
  reason: string
  before: string
  after: string
  via: string | null
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
  versions: string[]
  triage: FailureTriage | null
  muted: boolean
}

export interface FailureTriage {
  assignee: string
  note: string
  muted_until: string | null
  muted_below: string | null
  updated_by: string
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

export interface StoreLoad {
  due_steps: number
  scheduled_steps: number
  running_steps: number
  steps_without_worker: number
}

export interface Bottlenecks {
  slow_tasks: TaskFigures[]
  utilization: StoreLoad
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

export interface PauseList {
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
  document: unknown
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

export interface TeamAuditEntry {
  id: number
  at: string
  namespace: string | null
  subject: string
  actor: string
  action: string
  reason: string
  before: unknown
  after: unknown
  via: string | null
}

export interface AuditEntryList {
  events: TeamAuditEntry[]
  next_cursor: number | null
}

export interface Approval {
  id: string
  status: string
  task_id: string
  step: string
  call: string
  namespace: string
  template: string
  title: string
  form: Record<string, unknown>
  assignees: string[]
  opened_at: string
  due_at: string | null
  escalate_at: string | null
  decided_by: string | null
  decided_at: string | null
  decision: unknown
}

export interface ApprovalList {
  approvals: Approval[]
  next_cursor: string | null
}

export interface ScheduleView {
  id: number
  namespace: string
  name: string
  template: string
  version: string
  cron: string | null
  every: string | null
  anchor: string | null
  timezone: string
  overlap: string
  catch_up: string
  jitter: string
  priority: number | null
  context: Record<string, unknown>
  declared_by: string | null
  paused: boolean
  etag: string
  next_at: string
  last_at: string | null
  last_task: string | null
  buffered: number
  created_by: string
}

export interface ScheduleList {
  schedules: ScheduleView[]
  next_cursor: number | null
}

export interface TicksWithoutTask {
  first: string
  last: string
  outcome: string
  detail: string
}

export interface TicksWithoutTaskList {
  ticks: TicksWithoutTask[]
}

export interface SchedulePreview {
  ticks: string[]
}

export interface BackfillResult {
  ticks: string[]
  created: number
  existing: number
}

export interface TriggerResponse {
  task_id: string
}

export interface LimitView {
  namespace: string
  key: string
  concurrency: number | null
  rate: string | null
  burst: number | null
  set_by: string | null
  running: number
  waiting: number
}

export interface LimitSettingView {
  pattern: string
  concurrency: number | null
  rate: string | null
  burst: number | null
  updated_by: string
  updated_at: string
}

export interface LimitList {
  limits: LimitView[]
  settings: LimitSettingView[]
}

export interface Event {
  no: number
  id: string
  name: string
  namespace: string
  template: string
  version: string
  task_id: string
  step: string
  attempt: number
  outcome: string
  at: string
  payload: unknown
}

export interface EventList {
  events: Event[]
  next_cursor: number | null
}

export interface Webhook {
  namespace: string
  name: string
  url: string
  events: string[]
  include: string[]
  paused: boolean
  pending: number
  dead: number
  created_by: string
  created_at: string
  secret: string | null
}

export interface WebhookList {
  webhooks: Webhook[]
}

export interface DeliveryAttempt {
  at: string
  duration: number
  response: number | null
  error: string
}

export interface Delivery {
  id: number
  status: string
  attempts: number
  created_at: string
  next_at: string | null
  settled_at: string | null
  event_id: string
  event_name: string
  task_id: string
  log: DeliveryAttempt[]
}

export interface DeliveryList {
  deliveries: Delivery[]
  next_cursor: number | null
}

export interface ApiKey {
  name: string
  prefix: string
  scopes: string[]
  namespaces: string[]
  roles: string[]
  created_by: string
  created_at: string
  expires_at: string | null
  revoked_at: string | null
  last_used_at: string | null
}

export interface ApiKeyList {
  keys: ApiKey[]
}

export interface Change {
  path: string
  kind: string
  before: unknown
  after: unknown
}

export interface Difference {
  from_version: string
  to_version: string
  identical: boolean
  steps_added: string[]
  steps_removed: string[]
  steps_changed: string[]
  changes: Change[]
}

export interface ActionPreview {
  action: string
  etag: string
  rejected: { step: string | null; text: string }[]
  effects: string[]
}

export interface SearchMatch {
  kind: string
  id: string
  name: string
  namespace: string | null
  title: string | null
  detail: string
  path: string
}

export interface SearchMatches {
  matches: SearchMatch[]
}

export interface TaskCounts {
  by_status: Record<string, number>
  exact: boolean
}

export interface OldestSnapshot {
  kind: string
  name: string
  age_seconds: number | null
}

export interface SystemStatus {
  store: string
  schema_version: number
  oldest_snapshot: OldestSnapshot | null
  workers: number
  slots: number
  running: number | null
}

export interface Series {
  key: string
  values: number[]
}

export interface Chart {
  start: string
  step_seconds: number
  points: number
  series: Series[]
  as_of: string
}

export interface BulkPreview {
  matches: number
  exact: boolean
  by_template: Record<string, number>
  rejected: Record<string, number>
  token: string
}

export interface BulkRejection {
  id: string
  message: string
}

export interface BulkOperation {
  id: string
  action: string
  status: string
  per_second: number
  matches: number
  exact: boolean
  changed: number
  rejected: Record<string, number>
  rejections: BulkRejection[]
  reason: string
  created_by: string
  created_at: string
  stopped_by: string | null
}

export interface BulkList {
  operations: BulkOperation[]
}

export interface UsualDuration {
  runs: number
  median: number
  p95: number
}

export interface UsualDurations {
  task: UsualDuration | null
  steps: Record<string, UsualDuration>
}

export interface RunningStep {
  task_id: string
  namespace: string
  name: string
  version: string
  step: string
  attempt: number
  claimed_at: string
}

export interface ServedQueue {
  namespace: string
  handler: string
  requirement: string
}

export interface WorkerAttempt {
  task_id: string
  namespace: string
  name: string
  version: string
  step: string
  attempt: number
  outcome: string
  claimed_at: string | null
  settled_at: string
  error: string | null
}

export interface WorkerAttemptList {
  attempts: WorkerAttempt[]
}

export interface WorkerDetail {
  worker: WorkerInfo
  steps: RunningStep[]
  queues: ServedQueue[]
}
