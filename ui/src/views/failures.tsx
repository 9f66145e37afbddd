// Failures by cause: what stopped tasks, how often, since when; one act for all tasks of a cause.
import { useEffect, useState } from "preact/hooks"
import { call, get, may, queryOf } from "../api/client.ts"
import type { FailureCause } from "../api/types.ts"
import { ActionDialog, quoted, type Action } from "../parts/action.tsx"
import { Button, Empty, Failed, Loading, plural, shortId, Stale, Time } from "../parts/bits.tsx"
import { Bars } from "../parts/sparks.tsx"
import { Top } from "../parts/shell.tsx"
import { bulkAction } from "../state/bulk.ts"
import { fieldOf } from "../state/forms.ts"
import { href, route, setQuery } from "../router.ts"
import { useLater } from "../state/later.ts"
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
    if (causes.data) badges.value = { ...badges.peek(), "/failures": causes.data.reduce((sum, one) => sum + (one.muted ? 0 : one.tasks), 0) }
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
  const options = `--template ${cause.namespace}.${cause.name} --failed-step ${quoted(cause.step)}${cause.code ? ` --error-code ${quoted(cause.code)}` : ""}`
  const action = bulkAction("retry", { filter: { ...filterOf(cause), status: "error" } }, plural(cause.tasks, "task"), `tasker task retry ${options}`)
  return {
    ...action,
    title: `Retry tasks that failed with ${cause.code ?? cause.type}`,
    effects: cause.code ? [] : ["The tasks are selected by their failed step; some may have failed for another reason."],
  }
}

/** What an empty field sets. */
const nothing = { assignee: "", note: "", muted_until: null, muted_below: null }

/** Assigns a cause, notes something about it, or mutes it. */
function triageAction(cause: FailureCause): Action {
  const { triage } = cause
  return {
    title: `Triage ${cause.code ?? cause.type}`,
    fields: [
      fieldOf("assignee", "Assignee", { initial: triage?.assignee ?? "", help: "a person or a team" }),
      fieldOf("note", "Note", { initial: triage?.note ?? "" }),
      fieldOf("muted_until", "Muted until", { kind: "time", initial: triage?.muted_until ?? "" }),
      fieldOf("muted_below", "Muted below version", { initial: triage?.muted_below ?? "", help: "muted until the failure happens in this or a later version of the workflow" }),
    ],
    effects: ["A muted cause is listed last and is not counted as needing attention. Its tasks do not change.", "A cause disappears from the list once all of its tasks have been retried, resolved or cancelled."],
    button: "Save 1 cause",
    command: null,
    run: ({ reason, entered }) => call("PATCH", `/v1/failures/${cause.fingerprint}`, { body: { namespace: cause.namespace, ...nothing, ...entered, reason } }),
  }
}

function Triage(props: { cause: FailureCause }) {
  const { triage, muted } = props.cause
  if (!triage) return null
  return (
    <>
      {muted && <b>{triage.muted_until ? <>Muted until <Time at={triage.muted_until} />. </> : <>Muted below {triage.muted_below}. </>}</b>}
      {triage.note && <>{triage.note} · </>}
    </>
  )
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
            <div class="b">
              {refused === null && <><button type="button" class="link" aria-label={`${cause.triage?.assignee ? `${cause.triage.assignee}, triage` : "Triage"} ${cause.code ?? cause.type}`} onClick={() => props.act(triageAction(cause))}>{cause.triage?.assignee || "Triage…"}</button> · </>}
              <Triage cause={cause} />
              {cause.step} in {cause.namespace}.{cause.name}, for example <a class="link mono" href={href(`/tasks/${cause.sample}?step=${encodeURIComponent(cause.step)}`)}>{shortId(cause.sample)}</a>
            </div>
            <Bars values={cause.trend} />
            <div class="c"><b>{cause.tasks.toLocaleString("en")}</b><span>{cause.tasks === 1 ? "failed task" : "failed tasks"}</span></div>
            <div class="d"><Time at={cause.last_at}>{ago(cause.last_at)}</Time></div>
            <Button small disabledBecause={refused} label={`Retry ${plural(cause.tasks, "task")} that failed with ${cause.code ?? cause.type}`} onClick={() => props.act(retryAction(cause))}>Retry {cause.tasks.toLocaleString("en")}…</Button>
          </li>
        )
      })}
    </ul>
  )
}

export function Failures() {
  const hours = Number(route.value.query.get("hours")) || 24
  const causes = useFailures(hours)
  const later = useLater()
  const [action, setAction] = useState<Action | null>(null)
  return (
    <>
      <Top crumbs={[["Failures", null]]} />
      <div class="page">
        <div class="ph">
          <h1>Failures</h1>
          <span class="muted">by cause, of tasks that have not been retried, resolved or cancelled</span>
          <div class="act"><Spans hours={hours} /></div>
        </div>
        {later && <later.Operations act={setAction} />}
        {causes.data && <Stale problem={causes.problem} reload={causes.reload} />}
        {!causes.data && causes.problem ? (
          <Failed problem={causes.problem} what="failures" reload={causes.reload} />
        ) : !causes.data ? (
          <Loading what="failures" />
        ) : causes.data.length === 0 ? (
          <Empty icon="ok" title="No failed tasks">
            None of the tasks created in the last {SPANS.find(([span]) => span === hours)?.[1] ?? `${hours} h`} has failed, or they have been retried, resolved or cancelled. A step that fails permanently is listed here.
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
    <div class="seg" role="group" aria-label="Period">
      {SPANS.map(([span, label]) => (
        <button type="button" key={span} aria-pressed={span === props.hours} onClick={() => setQuery({ hours: span === 24 ? null : String(span) })}>{label}</button>
      ))}
    </div>
  )
}
