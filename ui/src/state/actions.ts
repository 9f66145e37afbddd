// What can be done to tasks and steps: who may, when, and what comes of it.
import { may, post } from "../api/client.ts"
import type { ActionPreview, Pause, TaskSummaryView } from "../api/types.ts"
import { quoted, withReason, type Action, type Preview } from "../parts/action.tsx"
import { plural, shortId } from "../parts/bits.tsx"
import type { Picture, StepNode } from "./picture.ts"

/** Why an action cannot be used now, or null. */
export type Refusal = string | null

export function refusal(permission: string, namespace: string): Refusal {
  return may(permission, namespace) ? null : `needs the permission ${permission} in ${namespace}`
}

/** Ask the server what an action would do to a task. */
function previewOf(task: string, action: string, steps: string[] | null = null) {
  return async (_: unknown, option: boolean): Promise<Preview> => {
    const { effects, rejected, etag } = await post<ActionPreview>(`/v1/tasks/${task}/preview`, { action, steps, reset_attempts: option })
    return rejected.length ? { effects: [], refused: rejected.map((one) => one.text).join(" "), etag } : { effects, etag }
  }
}

export function isOpen(task: { status: string }): boolean {
  return task.status === "pending" || task.status === "in_progress"
}

export function pauseAction(task: TaskSummaryView): Action {
  const own = task.pauses.some((pause) => pause.kind === "task")
  const verb = own ? "resume" : "pause"
  return {
    title: own ? "Resume the task" : "Pause the task",
    effects: own
      ? ["Its steps start again as soon as they are due."]
      : ["No more of its steps start.", "Running steps finish normally.", "It stays paused until someone resumes it."],
    button: own ? "Resume 1 task" : "Pause 1 task",
    command: (reason) => withReason(`tasker task ${verb} ${shortId(task.id)}`, reason),
    run: ({ reason }) => post(`/v1/tasks/${task.id}/${verb}`, { reason }),
  }
}

export function cancelAction(task: TaskSummaryView): Action {
  return {
    title: "Cancel the task",
    effects: [],
    preview: previewOf(task.id, "cancel"),
    button: "Cancel 1 task",
    danger: true,
    needsReason: true,
    command: (reason) => withReason(`tasker task cancel ${shortId(task.id)}`, reason),
    // without its ETag: a task that runs changes all the time, and is to be cancelled all the same
    run: ({ reason }) => post(`/v1/tasks/${task.id}/cancel`, { reason }),
  }
}

export function retryTaskAction(task: TaskSummaryView): Action {
  const failed = task.counts.error
  return {
    title: "Retry the task",
    effects: ["Completed steps do not run again."],
    preview: previewOf(task.id, "retry"),
    button: `Retry ${plural(failed, "step")}`,
    option: "Allow the full number of attempts again, instead of one more",
    command: (reason, _, all) => withReason(`tasker task retry ${shortId(task.id)}${all ? " --reset-attempts" : ""}`, reason),
    run: ({ reason, option, etag }) => post(`/v1/tasks/${task.id}/retry`, { reason, reset_attempts: option }, etag),
  }
}

export function resolveTaskAction(task: TaskSummaryView): Action {
  return {
    title: "Resolve the task",
    effects: [],
    preview: previewOf(task.id, "resolve"),
    button: "Resolve 1 task",
    needsReason: true,
    command: (reason) => withReason(`tasker task resolve ${shortId(task.id)}`, reason),
    run: ({ reason, etag }) => post(`/v1/tasks/${task.id}/resolve`, { reason }, etag),
  }
}

export function retryStepAction(picture: Picture, node: StepNode): Action {
  const { task } = picture.snapshot
  return {
    title: `Retry ${node.name}`,
    effects: [],
    preview: previewOf(task.id, "retry", [node.name]),
    button: "Retry 1 step",
    option: "Allow the full number of attempts again, instead of one more",
    command: (reason, _, all) =>
      withReason(`tasker task retry ${shortId(task.id)} --step ${quoted(node.name)}${all ? " --reset-attempts" : ""}`, reason),
    run: ({ reason, option, etag }) => post(stepPath(task.id, node, "retry"), { reason, reset_attempts: option }, etag),
  }
}

export function setResultAction(picture: Picture, node: StepNode): Action {
  const { task } = picture.snapshot
  return {
    title: `Set the result of ${node.name}`,
    effects: [],
    preview: previewOf(task.id, "complete_step", [node.name]),
    button: "Set 1 result",
    needsReason: true,
    result: "{}",
    command: (reason, result) =>
      withReason(`tasker task complete ${shortId(task.id)} ${quoted(node.name)} --result ${quoted(result)}`, reason),
    run: ({ reason, result, etag }) => post(stepPath(task.id, node, "complete"), { reason, result }, etag),
  }
}

export function skipAction(picture: Picture, node: StepNode): Action {
  const { task } = picture.snapshot
  return {
    title: `Skip ${node.name}`,
    effects: [],
    preview: previewOf(task.id, "skip_step", [node.name]),
    button: "Skip 1 step",
    needsReason: true,
    command: (reason) => withReason(`tasker task skip ${shortId(task.id)} ${quoted(node.name)}`, reason),
    run: ({ reason, etag }) => post(stepPath(task.id, node, "skip"), { reason }, etag),
  }
}

function stepPath(task: string, node: StepNode, verb: string): string {
  return `/v1/tasks/${task}/steps/${encodeURIComponent(node.name)}/${verb}`
}

export interface PauseTarget {
  kind: "queue" | "template" | "namespace"
  namespace: string
  /** The handler of a queue, or the name of a template. */
  name: string
}

const PAUSES = {
  queue: { path: (one: PauseTarget) => `/v1/queues/${one.namespace}/${encodeURIComponent(one.name)}`, command: (one: PauseTarget) => `tasker queue VERB ${quoted(one.name)} --namespace ${one.namespace}`, what: "steps of this handler" },
  template: { path: (one: PauseTarget) => `/v1/templates/${one.namespace}/${one.name}`, command: (one: PauseTarget) => `tasker template VERB ${one.namespace}.${one.name}`, what: "steps of its tasks (all versions)" },
  namespace: { path: (one: PauseTarget) => `/v1/namespaces/${one.namespace}`, command: (one: PauseTarget) => `tasker namespace VERB ${one.namespace}`, what: "steps of this namespace" },
}

/** Pause a queue, a template or a namespace, or resume it. */
export function pauseTargetAction(target: PauseTarget, pause: Pause | undefined): Action {
  const { path, command, what } = PAUSES[target.kind]
  const verb = pause ? "resume" : "pause"
  const label = pause ? "Resume" : "Pause"
  const name = target.kind === "namespace" ? target.namespace : target.name
  return {
    title: `${label} the ${target.kind} ${name}`,
    effects: pause
      ? [`Paused by ${pause.paused_by}${pause.reason ? `: ${pause.reason}` : "."}`, `The ${what} start again unless something else pauses them.`]
      : [`No more ${what} start.`, "Running steps finish normally.", "It stays paused until someone resumes it."],
    button: `${label} 1 ${target.kind}`,
    needsReason: !pause,
    command: (reason) => withReason(command(target).replace("VERB", verb), reason),
    run: ({ reason }) => post(`${path(target)}/${verb}`, { reason }),
  }
}
