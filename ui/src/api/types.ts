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
