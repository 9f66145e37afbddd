// The filters of the task list: one text, one address, one query of the API, one command.

export interface FilterKind {
  key: string
  label: string
  hint: string
}

/** In the order in which they are offered; keys are the names of the API's query parameters. */
export const FILTERS: FilterKind[] = [
  { key: "name", label: "workflow", hint: "process_refund" },
  { key: "version", label: "version", hint: "2.1.0 or ^2.0" },
  { key: "correlation_id", label: "correlation", hint: "an id shared by tasks" },
  { key: "tag", label: "tag", hint: "a tag" },
  { key: "created_by", label: "created by", hint: "who submitted it" },
  { key: "failed_step", label: "failed step", hint: "a step's name" },
  { key: "error_code", label: "error code", hint: "UNAVAILABLE" },
  { key: "compensation", label: "compensation", hint: "running, complete or incomplete" },
  { key: "attribute", label: "attribute", hint: "order_id=A-17" },
  { key: "idempotency_key", label: "idempotency key", hint: "the key of the submission" },
  { key: "parent_id", label: "parent", hint: "a task's id" },
  { key: "since", label: "created within", hint: "15m, 1h, 24h, 7d" },
]

export const STATUSES = ["pending", "in_progress", "error", "complete", "cancelled", "resolved_manually"] as const

const UNITS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 }

/** Seconds of `90s`, `15m`, `24h` or `7d`, or null. */
export function parseSpan(text: string): number | null {
  const parts = /^(\d{1,6})\s*([smhd])$/.exec(text.trim().toLowerCase())
  if (!parts) return null
  return Number(parts[1]) * UNITS[parts[2]!]!
}

export interface Typed {
  key: string
  value: string
}

/**
 * Read what was typed: `created by: ann`, `error_code:UNAVAILABLE`, `order_id=A-17`, or a workflow's name.
 * Returns null for nothing.
 */
export function parseFilter(text: string): Typed | null {
  const typed = text.trim()
  if (!typed) return null
  const colon = typed.indexOf(":")
  if (colon > 0) {
    const word = typed.slice(0, colon).trim().toLowerCase()
    const value = typed.slice(colon + 1).trim()
    const kind = FILTERS.find((one) => one.key === word.replaceAll(" ", "_") || one.label === word)
    if (kind) return value ? { key: kind.key, value } : null
  }
  if (/^[A-Za-z_][\w.-]*=./.test(typed)) return { key: "attribute", value: typed }
  return { key: "name", value: typed }
}

/** The text that `parseFilter` reads as this filter. */
export function formatFilter(filter: Typed): string {
  const kind = FILTERS.find((one) => one.key === filter.key)
  return `${kind?.label ?? filter.key}: ${filter.value}`
}

/** The parameters of `GET /v1/tasks` for a page's query. */
export function apiQuery(query: URLSearchParams, now: number): Record<string, string | null> {
  const since = parseSpan(query.get("since") ?? "")
  return {
    status: query.get("status"),
    namespace: query.get("namespace"),
    created_after: since === null ? query.get("created_after") : new Date(now - since * 1000).toISOString(),
    created_before: query.get("created_before"),
    ...Object.fromEntries(FILTERS.filter(({ key }) => key !== "since").map(({ key }) => [key, query.get(key)])),
  }
}

/** When the tasks that a page lists were created, or null. */
export function createdIn(query: URLSearchParams): readonly [string | null, string | null] | null {
  const span = [query.get("created_after"), query.get("created_before")] as const
  return query.has("since") || (span[0] === null && span[1] === null) ? null : span
}

/** Options whose names differ from those of the parameters. */
const OPTIONS: Record<string, string> = {
  name: "--template",
  parent_id: "--parent",
  created_after: "--since",
  created_before: "--until",
}

function quote(text: string): string {
  return /^[\w@%+=:,./^~-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}

/** The command that lists the same tasks. */
export function command(query: URLSearchParams, now: number): string {
  const parts = ["tasker", "task", "list"]
  for (const [name, value] of Object.entries(apiQuery(query, now))) {
    if (value && name !== "version") parts.push(OPTIONS[name] ?? `--${name.replaceAll("_", "-")}`, quote(value))
  }
  return parts.join(" ")
}
