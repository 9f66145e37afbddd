// Operations on many tasks: the bar of what can be done to the selected ones, and what is being done.
import { call, get, may, now } from "../api/client.ts"
import type { BulkList, BulkOperation, TaskView } from "../api/types.ts"
import { quoted, type Action } from "../parts/action.tsx"
import { Button, plural, shortId, Time } from "../parts/bits.tsx"
import { Icon } from "../parts/icons.tsx"
import { route } from "../router.ts"
import { bulkAction, countOf, started, type Scope, type Verb } from "../state/bulk.ts"
import { apiQuery, command } from "../state/filters.ts"
import { useResource } from "../state/resource.ts"

const EVERY = 1_000

const NOUNS: Record<string, [running: string, done: string]> = {
  cancel: ["Cancelling", "cancelled"],
  retry: ["Retrying", "retried"],
  resolve: ["Resolving", "resolved"],
}

/** The operations that run, and those that this tab has started, with their progress. */
export function Operations(props: { act: (action: Action) => void }) {
  const listed = useResource("bulk operations", (signal) => get<BulkList>("/v1/bulk?limit=20", signal), EVERY)
  const shown = (listed.data?.operations ?? []).filter((one) => one.status === "running" || started.value.includes(one.id))
  if (shown.length === 0) return null
  return (
    <section class="ops" aria-label="Operations on many tasks">
      {shown.map((one) => <Operation key={one.id} operation={one} act={props.act} reload={listed.reload} />)}
    </section>
  )
}

function Operation(props: { operation: BulkOperation; act: (action: Action) => void; reload: () => void }) {
  const { operation } = props
  const running = operation.status === "running"
  const [doing, done] = NOUNS[operation.action]!
  const rejected = Object.values(operation.rejected).reduce((sum, one) => sum + one, 0)
  const handled = operation.changed + rejected
  const most = Math.max(operation.matches, handled, 1)
  const part = Math.min(100, (100 * handled) / most)
  const permission = `tasks:${operation.action}`
  return (
    <div class="op" role="group" aria-label={`${doing} ${countOf(operation)}`}>
      <Icon name={running ? "retry" : rejected ? "fail" : "ok"} />
      <span>
        <b>{running ? `${doing} ${countOf(operation)}` : `${plural(operation.changed, "task")} ${done}${operation.status === "stopped" ? `, then stopped by ${operation.stopped_by}` : ""}`}</b>
        <small>
          {running && <>{handled.toLocaleString("en")} done, at most {operation.per_second.toLocaleString("en")} a second, </>}
          by {operation.created_by} <Time at={operation.created_at} />{operation.reason && <> · {operation.reason}</>}
          {rejected > 0 && <> · <span class="c-err" title={operation.rejections.map((one) => one.message).join("\n")}>{rejected.toLocaleString("en")} rejected: {Object.keys(operation.rejected).join(", ").replaceAll("_", " ")}</span></>}
        </small>
      </span>
      <progress value={running ? part : 100} max={100} aria-label={`${handled} of ${most} tasks`} />
      {running ? (
        <Button small disabledBecause={may(permission) ? null : `needs the permission ${permission}`} onClick={() => props.act(stopAction(operation, handled, props.reload))}>Stop…</Button>
      ) : (
        <Button small icon="x" label={`Dismiss the outcome of ${shortId(operation.id)}`} onClick={() => (started.value = started.value.filter((one) => one !== operation.id))} />
      )}
    </div>
  )
}

function stopAction(operation: BulkOperation, handled: number, reload: () => void): Action {
  const left = Math.max(0, operation.matches - handled)
  return {
    title: `Stop ${NOUNS[operation.action]![0].toLowerCase()} tasks`,
    effects: [
      `${operation.exact ? "" : "At least "}${plural(left, "task")} ${left === 1 ? "is" : "are"} left unchanged.`,
      `The ${plural(handled, "task")} that ${handled === 1 ? "was" : "were"} already processed ${handled === 1 ? "keeps its" : "keep their"} new status.`,
      "A stopped operation cannot be resumed; start another one for the remaining tasks.",
    ],
    button: "Stop 1 operation",
    takesReason: false,
    command: () => `tasker bulk stop ${operation.id}`,
    run: async () => {
      await call("DELETE", `/v1/bulk/${operation.id}`)
      reload()
    },
  }
}

/** What can be done to the selected tasks, or to all that match the filters. */
export function BulkBar(props: { tasks: TaskView[]; all: boolean; setAll: (all: boolean) => void; act: (action: Action) => void; clear: () => void }) {
  const { tasks, all, act } = props
  const failed = tasks.filter((task) => task.counts.error > 0 && task.status !== "resolved_manually" && task.status !== "cancelled")
  const stopped = tasks.filter((task) => task.status === "error")
  const open = tasks.filter((task) => task.status === "pending" || task.status === "in_progress")
  const button = (verb: Verb, fitting: TaskView[], none: string, icon?: string) => {
    const permission = `tasks:${verb}`
    const space = fitting.find((task) => !may(permission, task.namespace))?.namespace
    const refused = all
      ? may(permission) ? null : `needs the permission ${permission}`
      : fitting.length === 0 ? none : space ? `needs the permission ${permission} in ${space}` : null
    return (
      <Button {...(icon ? { icon, kind: "pri" as const } : {})} disabledBecause={refused} onClick={() => act(all ? ofFilter(verb) : ofTasks(verb, fitting))}>
        {verb[0]!.toUpperCase() + verb.slice(1)}…
      </Button>
    )
  }
  return (
    <div class="bulk" role="toolbar" aria-label="Selected tasks">
      <span>{all ? "All that match" : `${tasks.length.toLocaleString("en")} selected`}</span>
      <button type="button" class="link" onClick={() => props.setAll(!all)}>{all ? "Only the selected" : "All that match"}</button>
      {button("retry", failed, "none of them has a failed step", "retry")}
      {button("resolve", stopped, "none of them has failed")}
      {button("cancel", open, "none of them is open")}
      <Button icon="x" label="Clear the selection" onClick={props.clear} />
    </div>
  )
}

function ofTasks(verb: Verb, tasks: TaskView[]): Action {
  const each = tasks.length === 1 ? `tasker task ${verb} ${shortId(tasks[0]!.id)}` : null
  const action = bulkAction(verb, { ids: tasks.map((task) => task.id) }, plural(tasks.length, "task"), null)
  return each ? { ...action, command: (reason) => `${each}${reason ? ` --reason ${quoted(reason)}` : ""}` } : action
}

/** An action on all tasks that the page's filters find. */
function ofFilter(verb: Verb): Action {
  const { query } = route.value
  const { attribute, ...plain } = apiQuery(query, now())
  const filter: Record<string, unknown> = Object.fromEntries(Object.entries(plain).filter(([, value]) => value))
  if (attribute) filter["attributes"] = { [attribute.slice(0, attribute.indexOf("="))]: attribute.slice(attribute.indexOf("=") + 1) }
  if (Object.keys(filter).length === 0) filter["created_before"] = new Date(now() + 60_000).toISOString()
  const scope: Scope = { filter }
  const listable = !query.has("status") && !query.has("parent_id") && verb !== "resolve" && [...query].length > 0
  return bulkAction(verb, scope, "all that match", listable ? command(query, now()).replace("task list", `task ${verb}`) : null)
}
