// What a workflow declares, in words: as `tasker template draw` describes it.
import { duration } from "../state/time.ts"

/** What the pages read of a template's document. */
export interface Declared {
  limits?: Limit[]
  concurrency?: { key: string; tasks: number; when_full?: string }
  schedules?: { name: string; cron?: string; every?: number; timezone?: string }[]
  steps: DeclaredStep[]
}

interface Limit {
  key: string
  concurrency?: number
  rate?: string
  burst?: number
}

export interface DeclaredStep {
  name: string
  handler?: { callable?: string }
  dependencies?: string[]
  type?: string
  trigger?: string
  when?: string
  allow_failure?: boolean
  timeout_seconds?: number
  limits?: Limit[]
  events?: { name: string }[]
  http?: { method: string; url: string }
  wait?: { for?: number; until?: string; signal?: string; any?: { signal: string }[]; timeout?: number }
  approval?: { assignees?: string[]; timeout?: number }
  task?: { template: string }
  map?: { over: string; max_concurrency?: number }
  batch?: { total: string; size: number }
  repeat?: { until: string }
  external?: object
  compensate?: { callable?: string }
}

const length = (seconds: number) => duration(seconds).replace(".0 s", " s")
const upTo = (timeout: number | undefined) => (timeout === undefined ? "" : `, up to ${length(timeout)}`)
const limitOf = (limit: Limit) =>
  `limit ${limit.key}: ${[limit.concurrency && `${limit.concurrency.toLocaleString("en")} running`, limit.rate, limit.burst && `burst ${limit.burst.toLocaleString("en")}`].filter(Boolean).join(", ")}`

/** Its handler, or what it waits for, asks, runs, sends or repeats. */
export function workOf(step: DeclaredStep): string {
  const { wait, approval, task, http, map, batch, repeat } = step
  if (wait) {
    if (wait.for !== undefined) return `waits ${length(wait.for)}`
    if (wait.until !== undefined) return `waits until ${wait.until}`
    return `waits for ${wait.any?.map((one) => one.signal).join(" or ") ?? wait.signal}${upTo(wait.timeout)}`
  }
  if (approval) return `approval by ${approval.assignees?.join(" or ") || "anybody"}${upTo(approval.timeout)}`
  const does = task ? `task ${task.template}` : http ? `${http.method} ${http.url}` : (step.handler?.callable ?? step.name)
  if (map) return `${does} for each of ${map.over}`
  if (batch) return `${does} in batches of ${batch.size.toLocaleString("en")}, total ${batch.total}`
  return repeat ? `${does} until ${repeat.until}` : does
}

/** What decides whether it runs, and what its failure does. */
export function conditionOf(step: DeclaredStep): string {
  const parts = [step.type === "decision" && "decision", step.trigger?.replaceAll("_", " "), step.when && `when ${step.when}`, step.allow_failure && "may fail"]
  return parts.filter(Boolean).join(", ")
}

/** Its limits and events, who completes it, and what undoes it. */
export function detailsOf(step: DeclaredStep): string {
  const parts = [
    ...(step.limits ?? []).map(limitOf),
    step.map?.max_concurrency && `limit: ${step.map.max_concurrency.toLocaleString("en")} running`,
    ...(step.events ?? []).map((event) => `event ${event.name}`),
    step.external && "completed by another system",
    step.compensate && `undone by ${step.compensate.callable ?? step.name}`,
  ]
  return parts.filter(Boolean).join("; ")
}

/** The limits of a whole workflow. */
export function boundsOf(template: Declared): string[] {
  const { concurrency, limits = [] } = template
  return [...limits.map(limitOf), ...(concurrency ? [`concurrency ${concurrency.key}: at most ${concurrency.tasks.toLocaleString("en")} open tasks; when full: ${concurrency.when_full ?? "wait"}`] : [])]
}

/** When its schedules create tasks. */
export function schedulesOf(template: Declared): { name: string; times: string }[] {
  return (template.schedules ?? []).map(({ name, cron, every, timezone }) => ({ name, times: cron ? `${cron} ${timezone ?? "UTC"}` : `every ${length(every ?? 0)}` }))
}
