// What can be done to tasks and steps: who may, when, and what comes of it.
import { may, post } from "../api/client.ts"
import type { TaskSummaryView } from "../api/types.ts"
import { quoted, type Action } from "../parts/action.tsx"
import { plural, shortId } from "../parts/bits.tsx"
import type { Picture, StepNode } from "./picture.ts"

/** Why an action cannot be used now, or null. */
export type Refusal = string | null

export function refusal(permission: string, namespace: string): Refusal {
  return may(permission, namespace) ? null : `needs the permission ${permission} in ${namespace}`
}

const withReason = (command: string, reason: string) => (reason ? `${command} --reason ${quoted(reason)}` : command)

function descendants(picture: Picture, from: StepNode): number {
  const seen = new Set<string>()
  const stack = [...from.children]
  let count = 0
  while (stack.length) {
    const key = stack.pop()!
    if (seen.has(key)) continue
    seen.add(key)
    const node = picture.byKey.get(key)
    if (!node) continue
    count += node.group ? node.group.count : 1
    stack.push(...node.children)
  }
  return count
}

export function isOpen(task: TaskSummaryView): boolean {
  return task.status === "pending" || task.status === "in_progress"
}

export function pauseAction(task: TaskSummaryView): Action {
  const own = task.pauses.some((pause) => pause.kind === "task")
  const verb = own ? "resume" : "pause"
  return {
    title: own ? "Resume the task" : "Pause the task",
    effects: own
      ? ["Its steps start again as soon as they are due."]
      : ["No further step of it starts.", "What runs now ends normally.", "It stays paused until someone resumes it."],
    button: own ? "Resume 1 task" : "Pause 1 task",
    command: (reason) => withReason(`tasker task ${verb} ${shortId(task.id)}`, reason),
    run: ({ reason }) => post(`/v1/tasks/${task.id}/${verb}`, { reason }),
  }
}

export function cancelAction(task: TaskSummaryView): Action {
  const { counts } = task
  const left = counts.pending + counts.enqueued + counts.waiting_for_retry + counts.waiting
  return {
    title: "Cancel the task",
    effects: [
      ...(left ? [`${plural(left, "step")} will not start.`] : []),
      ...(counts.in_progress ? [`What ${plural(counts.in_progress, "running step")} returns is discarded.`] : []),
      "The results of steps that are done are kept.",
      "It cannot be undone.",
    ],
    button: "Cancel 1 task",
    danger: true,
    needsReason: true,
    command: (reason) => withReason(`tasker task cancel ${shortId(task.id)}`, reason),
    run: ({ reason }) => post(`/v1/tasks/${task.id}/cancel`, { reason }),
  }
}

export function retryTaskAction(task: TaskSummaryView): Action {
  const failed = task.counts.error
  return {
    title: "Retry the task",
    effects: [
      `${plural(failed, "failed step")} ${failed === 1 ? "gets" : "get"} another attempt; steps that are done do not run again.`,
      "What waits for them runs once they are done.",
    ],
    button: `Retry ${plural(failed, "step")}`,
    option: "Give all their attempts again, instead of one more",
    command: (reason, _, all) => withReason(`tasker task retry ${shortId(task.id)}${all ? " --reset-attempts" : ""}`, reason),
    run: ({ reason, option }) => post(`/v1/tasks/${task.id}/retry`, { reason, reset_attempts: option }),
  }
}

export function resolveTaskAction(task: TaskSummaryView): Action {
  return {
    title: "Resolve the task",
    effects: ["The task counts as done by hand.", "None of its steps runs any more.", "It cannot be undone."],
    button: "Resolve 1 task",
    needsReason: true,
    command: (reason) => withReason(`tasker task resolve ${shortId(task.id)}`, reason),
    run: ({ reason }) => post(`/v1/tasks/${task.id}/resolve`, { reason }),
  }
}

function follow(picture: Picture, node: StepNode): string[] {
  const count = descendants(picture, node)
  return count ? [`${plural(count, "step")} behind it can run once their other dependencies are done.`] : ["The task ends, as nothing else waits for it."]
}

export function retryStepAction(picture: Picture, node: StepNode): Action {
  const { task } = picture.snapshot
  return {
    title: `Retry ${node.name}`,
    effects: [`Attempt ${node.attempts + 1} of ${node.name} starts as soon as a worker is free.`, ...follow(picture, node)],
    button: "Retry 1 step",
    option: "Give all its attempts again, instead of one more",
    command: (reason, _, all) =>
      withReason(`tasker task retry ${shortId(task.id)} --step ${quoted(node.name)}${all ? " --reset-attempts" : ""}`, reason),
    run: ({ reason, option }) => post(stepPath(task.id, node, "retry"), { reason, reset_attempts: option }),
  }
}

export function setResultAction(picture: Picture, node: StepNode): Action {
  const { task } = picture.snapshot
  return {
    title: `Set the result of ${node.name}`,
    effects: [`${node.name} is complete with this result, as if its handler had returned it.`, ...follow(picture, node)],
    button: "Set 1 result",
    needsReason: true,
    result: "{}",
    command: (reason, result) =>
      withReason(`tasker task complete ${shortId(task.id)} ${quoted(node.name)} --result ${quoted(result)}`, reason),
    run: ({ reason, result }) => post(stepPath(task.id, node, "complete"), { reason, result }),
  }
}

export function skipAction(picture: Picture, node: StepNode): Action {
  const { task } = picture.snapshot
  return {
    title: `Skip ${node.name}`,
    effects: [`${node.name} counts as done by hand; what depends on it gets null as its result.`, ...follow(picture, node)],
    button: "Skip 1 step",
    needsReason: true,
    command: (reason) => withReason(`tasker task skip ${shortId(task.id)} ${quoted(node.name)}`, reason),
    run: ({ reason }) => post(stepPath(task.id, node, "skip"), { reason }),
  }
}

function stepPath(task: string, node: StepNode, verb: string): string {
  return `/v1/tasks/${task}/steps/${encodeURIComponent(node.name)}/${verb}`
}
