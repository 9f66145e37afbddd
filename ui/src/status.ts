// How the pages name the statuses of tasks, steps and attempts.

export interface Look {
  label: string
  tone: "ok" | "run" | "retry" | "err" | "park" | "idle"
  glyph: string
}

export const STEP_LOOKS: Record<string, Look> = {
  pending: { label: "Pending", tone: "idle", glyph: "pending" },
  enqueued: { label: "Queued", tone: "run", glyph: "enqueued" },
  in_progress: { label: "Running", tone: "run", glyph: "in_progress" },
  waiting: { label: "Waiting", tone: "park", glyph: "waiting" },
  waiting_for_retry: { label: "Waiting for retry", tone: "retry", glyph: "waiting_for_retry" },
  complete: { label: "Complete", tone: "ok", glyph: "complete" },
  error: { label: "Failed", tone: "err", glyph: "error" },
  cancelled: { label: "Cancelled", tone: "idle", glyph: "cancelled" },
  skipped: { label: "Skipped", tone: "idle", glyph: "skipped" },
  resolved_manually: { label: "Resolved", tone: "ok", glyph: "resolved_manually" },
}

export const TASK_LOOKS: Record<string, Look> = {
  pending: { label: "Pending", tone: "idle", glyph: "enqueued" },
  in_progress: { label: "Running", tone: "run", glyph: "in_progress" },
  complete: { label: "Complete", tone: "ok", glyph: "complete" },
  error: { label: "Failed", tone: "err", glyph: "error" },
  cancelled: { label: "Cancelled", tone: "idle", glyph: "cancelled" },
  resolved_manually: { label: "Resolved", tone: "ok", glyph: "resolved_manually" },
}

export const OUTCOME_LABELS: Record<string, string> = {
  complete: "complete",
  retry: "failed, retried",
  error: "failed",
  lost: "lost with its worker",
  released: "released",
  cancelled: "cancelled",
  resolved_manually: "resolved",
  parked: "parked",
  skipped: "skipped",
}

const UNKNOWN: Look = { label: "Unknown", tone: "idle", glyph: "pending" }

export function stepLook(status: string): Look {
  return STEP_LOOKS[status] ?? { ...UNKNOWN, label: status.replaceAll("_", " ") }
}

/** A task as its steps make it look: an open one that only waits is not shown as running. */
export function taskLook(task: { status: string; execution_status: string; pauses?: readonly unknown[] }): Look {
  if (task.status === "in_progress" || task.status === "pending") {
    if (task.execution_status === "paused") return { label: "Paused", tone: "park", glyph: "waiting" }
    if (task.execution_status === "waiting_for_retry") return STEP_LOOKS["waiting_for_retry"]!
    if (task.execution_status === "no_worker") return { label: "No worker", tone: "retry", glyph: "enqueued" }
  }
  return TASK_LOOKS[task.status] ?? { ...UNKNOWN, label: task.status.replaceAll("_", " ") }
}
