// Failures by cause: what stopped tasks, how often, since when; one act for all tasks of a cause.
import { useEffect, useState } from "preact/hooks"
import { get, may, post, queryOf } from "../api/client.ts"
import type { FailureCause } from "../api/types.ts"
import { ActionDialog, quoted, type Action } from "../parts/action.tsx"
import { Button, Empty, Failed, Loading, plural, shortId, Stale, Time } from "../parts/bits.tsx"
import { Bars } from "../parts/sparks.tsx"
import { Top } from "../parts/shell.tsx"
import { href, route, setQuery } from "../router.ts"
import { useResource } from "../state/resource.ts"
import { badges, namespaceOf } from "../state/shell.ts"
import { ago } from "../state/time.ts"

export const SPANS: [hours: number, label: string][] = [[1, "1 h"], [24, "24 h"], [168, "7 d"]]
const EVERY = 5_000

export function useFailures(hours: number) {
  const namespace = namespaceOf()
  const causes = useResource(
    `failures ${hours} ${namespace}`,
    (signal) => get<FailureCause[]>(`/v1/failures${queryOf({ hours, namespace })}`, signal),
    EVERY,
  )
  useEffect(() => {
    if (causes.data) badges.value = { ...badges.peek(), "/failures": causes.data.reduce((sum, one) => sum + one.tasks, 0) }
  }, [causes.data])
  return causes
}

/** The tasks that a cause stopped, as filters of the list and of bulk actions. */
export function filterOf(cause: FailureCause): Record<string, string> {
  return {
    namespace: cause.namespace,
    name: cause.name,
    failed_step: cause.step,
    ...(cause.code ? { error_code: cause.code } : {}),
  }
}

export function retryAction(cause: FailureCause): Action {
  const filter = { ...filterOf(cause) }
  const options = `--template ${cause.namespace}.${cause.name} --failed-step ${quoted(cause.step)}${cause.code ? ` --error-code ${quoted(cause.code)}` : ""}`
  return {
    title: `Retry what ${cause.code ?? cause.type} stopped`,
    effects: [
      `${plural(cause.tasks, "task")} of ${cause.namespace}.${cause.name}, at most 1,000 at once: their failed steps get another attempt.`,
      "Steps that are done do not run again.",
      ...(cause.code ? [] : ["The tasks are found by the failed step: some may have failed there for another reason."]),
    ],
    button: `Retry ${plural(cause.tasks, "task")}`,
    option: "Give all their attempts again, instead of one more",
    command: (reason, _, all) =>
      `tasker task retry ${options}${all ? " --reset-attempts" : ""}${reason ? ` --reason ${quoted(reason)}` : ""}`,
    run: ({ reason, option }) => post("/v1/bulk", { action: "retry", filter: { ...filter, status: "error" }, reason, reset_attempts: option }),
  }
}

export function CauseList(props: { causes: FailureCause[]; act: (action: Action) => void }) {
  return (
    <ul class="fp">
      {props.causes.map((cause) => {
        const refused = may("tasks:retry", cause.namespace) ? null : `needs the permission tasks:retry in ${cause.namespace}`
        return (
          <li key={cause.fingerprint}>
            <a class="a" href={href(`/tasks?${new URLSearchParams(filterOf(cause))}`)} title={cause.message}>
              <b class="s-err">{cause.code ?? cause.type}</b><span>{cause.message}</span>
            </a>
            <div class="b">{cause.step} in {cause.namespace}.{cause.name}, as in <a class="link mono" href={href(`/tasks/${cause.sample}?step=${encodeURIComponent(cause.step)}`)}>{shortId(cause.sample)}</a></div>
            <Bars values={cause.trend} />
            <div class="c"><b>{cause.tasks.toLocaleString("en")}</b><span>{cause.tasks === 1 ? "task stopped" : "tasks stopped"}</span></div>
            <div class="d"><Time at={cause.last_at}>{ago(cause.last_at)}</Time></div>
            <Button small disabledBecause={refused} label={`Retry ${cause.tasks} tasks stopped by ${cause.code ?? cause.type}`} onClick={() => props.act(retryAction(cause))}>Retry {cause.tasks.toLocaleString("en")}…</Button>
          </li>
        )
      })}
    </ul>
  )
}

export function Failures() {
  const hours = Number(route.value.query.get("hours")) || 24
  const causes = useFailures(hours)
  const [action, setAction] = useState<Action | null>(null)
  return (
    <>
      <Top crumbs={[["Failures", null]]} />
      <div class="page">
        <div class="ph">
          <h1>Failures</h1>
          <span class="muted">by cause, of tasks that nobody has continued since</span>
          <div class="act"><Spans hours={hours} /></div>
        </div>
        {causes.data && <Stale problem={causes.problem} reload={causes.reload} />}
        {!causes.data && causes.problem ? (
          <Failed problem={causes.problem} what="failures" reload={causes.reload} />
        ) : !causes.data ? (
          <Loading what="failures" />
        ) : causes.data.length === 0 ? (
          <Empty icon="ok" title="No task is stopped by a failure">
            Of the tasks created in the last {SPANS.find(([span]) => span === hours)?.[1] ?? `${hours} h`}. A step that fails for good stops what depends on it; it then appears here until someone retries, resolves or cancels the task.
          </Empty>
        ) : (
          <section class="panel flat"><CauseList causes={causes.data} act={setAction} /></section>
        )}
      </div>
      {action && <ActionDialog action={action} onClose={() => setAction(null)} onDone={() => { setAction(null); causes.reload() }} />}
    </>
  )
}

export function Spans(props: { hours: number }) {
  return (
    <div class="seg" role="group" aria-label="Time">
      {SPANS.map(([span, label]) => (
        <button type="button" key={span} aria-pressed={span === props.hours} onClick={() => setQuery({ hours: span === 24 ? null : String(span) })}>{label}</button>
      ))}
    </div>
  )
}
