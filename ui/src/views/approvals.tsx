// What waits for a person: steps with forms, and template versions to be reviewed.
import { useState } from "preact/hooks"
import { get, may, post, queryOf, session } from "../api/client.ts"
import type { Approval, ApprovalList, TaskView, TemplateVersion, TemplateVersionList } from "../api/types.ts"
import { ActionDialog, quoted, withReason, type Action } from "../parts/action.tsx"
import { Button, Empty, Failed, Loading, plural, shortId, Stale, Time } from "../parts/bits.tsx"
import { Icon } from "../parts/icons.tsx"
import { Json } from "../parts/json.tsx"
import { Tabs } from "../parts/tabs.tsx"
import { Top } from "../parts/shell.tsx"
import { href, route } from "../router.ts"
import { fieldOf, fieldsOf } from "../state/forms.ts"
import { useResource } from "../state/resource.ts"
import { namespaceOf } from "../state/shell.ts"
import { refusal } from "../state/actions.ts"
import { ago, countdown, tick } from "../state/time.ts"
import { now } from "../api/client.ts"

const TABS = { mine: "Mine", all: "All", decided: "Decided" } as const
const EVERY = 5_000

interface Loaded {
  approvals: Approval[]
  versions: TemplateVersion[]
}

async function load(tab: string, namespace: string | null, signal: AbortSignal): Promise<Loaded> {
  const wanted = { namespace, mine: tab === "mine" ? "true" : null, status: tab === "decided" ? "decided" : null }
  const [approvals, versions] = await Promise.all([
    may("approvals:read") ? get<ApprovalList>(`/v1/approvals${queryOf(wanted)}`, signal) : { approvals: [] },
    may("templates:list") && tab !== "decided" ? get<TemplateVersionList>(`/v1/template_versions${queryOf({ namespace, status: "pending_review" })}`, signal) : { versions: [] },
  ])
  const mine = versions.versions.filter((one) => tab !== "mine" || may("templates:approve", one.namespace))
  return { approvals: approvals.approvals, versions: mine }
}

export function Approvals() {
  const asked = route.value.query.get("show") ?? ""
  const tab = asked in TABS ? asked : "mine"
  const namespace = namespaceOf()
  const list = useResource(`approvals ${tab} ${namespace}`, (signal) => load(tab, namespace, signal), EVERY)
  const [action, setAction] = useState<Action | null>(null)
  const data = list.data
  return (
    <>
      <Top crumbs={[["Approvals", null]]} />
      <div class="page">
        <div class="ph"><h1>Approvals</h1><span class="muted">steps and versions that wait for a decision</span></div>
        <Tabs label="Approvals" name="show" tabs={TABS} chosen={tab} first="mine" />
        {data && <Stale problem={list.problem} reload={list.reload} />}
        {!data && list.problem ? (
          <Failed problem={list.problem} what="approvals" reload={list.reload} />
        ) : !data ? (
          <Loading what="approvals" />
        ) : data.approvals.length + data.versions.length === 0 ? (
          <NothingWaits tab={tab} />
        ) : (
          <section class="panel flat">
            <ul class="rows cards">
              {data.versions.map((one) => <VersionRow key={`${one.full_name} ${one.registered_at}`} version={one} act={setAction} />)}
              {data.approvals.map((one) => (one.status === "open" ? <OpenRow key={one.id} approval={one} act={setAction} /> : <DecidedRow key={one.id} approval={one} />))}
            </ul>
          </section>
        )}
      </div>
      {action && <ActionDialog action={action} onClose={() => setAction(null)} onDone={() => { setAction(null); list.reload() }} />}
    </>
  )
}

function NothingWaits(props: { tab: string }) {
  if (props.tab === "decided") return <Empty icon="approve" title="No decisions yet">Decisions are listed here until their tasks are deleted.</Empty>
  return (
    <Empty icon="approve" title={props.tab === "mine" ? "Nothing is waiting for you" : "Nothing is waiting for a decision"} command={'- name: approve\n  approval:\n    assignees: ["role:refund-managers"]'}>
      A step with <b>approval</b> waits here for a person. New workflow versions wait here if their namespace's policy requires a review.
    </Empty>
  )
}

/** Why the viewer may not decide an approval, or null. */
function refusalOf(approval: Approval): string | null {
  const viewer = session.value
  const refused = refusal("approvals:decide", approval.namespace)
  if (refused || !viewer || approval.assignees.length === 0 || viewer.groups.includes("*")) return refused
  const names = [`user:${viewer.name}`, ...viewer.groups.map((group) => `role:${group}`)]
  return approval.assignees.some((one) => names.includes(one)) ? null : `assigned to ${approval.assignees.join(", ")}`
}

function Deadline(props: { at: string }) {
  tick.value
  const left = Date.parse(props.at) - now()
  return <>{left > 0 ? `, expires in ${countdown(left)}` : ", expires now"}</>
}

function OpenRow(props: { approval: Approval; act: (action: Action) => void }) {
  const { approval } = props
  const refused = refusalOf(approval)
  const decides = hasApproved(approval)
  return (
    <li>
      <Icon name="approve" />
      <div class="grow">
        <a class="wf" href={href(`/tasks/${approval.task_id}?step=${encodeURIComponent(approval.step)}`)}><b>{approval.title || approval.step}</b></a>
        <p class="muted">{approval.step} of {approval.template}, task <span class="mono">{shortId(approval.task_id)}</span>{approval.call !== "approval" && `, ${approval.call}`}</p>
        <p class="muted">
          asked <Time at={approval.opened_at}>{ago(approval.opened_at)}</Time>
          {approval.due_at && <Deadline at={approval.due_at} />}
          {approval.assignees.length > 0 && ` · for ${approval.assignees.join(", ")}`}
          {approval.escalate_at && <> · escalates <Time at={approval.escalate_at} /></>}
        </p>
      </div>
      <div class="act">
        {decides ? (
          <>
            <Button disabledBecause={refused} label={`Reject ${approval.title || approval.step}`} onClick={() => props.act(decideAction(approval, false))}>Reject…</Button>
            <Button kind="pri" disabledBecause={refused} label={`Approve ${approval.title || approval.step}`} onClick={() => props.act(decideAction(approval, true))}>Approve…</Button>
          </>
        ) : (
          <Button kind="pri" disabledBecause={refused} label={`Decide ${approval.title || approval.step}`} onClick={() => props.act(decideAction(approval, null))}>Decide…</Button>
        )}
      </div>
    </li>
  )
}

function DecidedRow(props: { approval: Approval }) {
  const { approval } = props
  return (
    <li>
      <Icon name="ok" />
      <div class="grow">
        <a class="wf" href={href(`/tasks/${approval.task_id}?step=${encodeURIComponent(approval.step)}`)}><b>{approval.title || approval.step}</b></a>
        <p class="muted">{approval.step} of {approval.template}{approval.decided_at && <>, decided <Time at={approval.decided_at}>{ago(approval.decided_at)}</Time> by {approval.decided_by}</>}</p>
      </div>
      <div class="grow"><Json value={approval.decision} label={`Decision of ${approval.title || approval.step}`} /></div>
    </li>
  )
}

/** Whether the form asks to approve or to reject. */
function hasApproved(approval: Approval): boolean {
  const properties = approval.form["properties"] as Record<string, { type?: unknown }> | undefined
  return properties?.["approved"]?.type === "boolean"
}

/** Decide an approval; `approved` is set where its form has this field. */
function decideAction(approval: Approval, approved: boolean | null): Action {
  const fields = (fieldsOf(approval.form) ?? [fieldOf("form", "Decision as JSON", { kind: "json", required: true })])
    .filter((field) => approved === null || field.name !== "approved")
  const whole = fieldsOf(approval.form) === null
  const form = (entered: Record<string, unknown>) => (whole ? entered["form"] : approved === null ? entered : { approved, ...entered })
  const verb = approved === null ? "Decide" : approved ? "Approve" : "Reject"
  return {
    title: `${verb}: ${approval.title || approval.step}`,
    details: <Inputs task={approval.task_id} />,
    fields,
    effects: [`The step ${approval.step} continues with this decision, which is recorded under your name.`, "This cannot be undone."],
    button: `${verb} 1 step`,
    danger: approved === false,
    command: (reason, _, __, entered) => withReason(`tasker approval decide ${approval.id} ${quoted(JSON.stringify(form(entered)))}`, reason),
    run: ({ reason, entered }) => post(`/v1/approvals/${encodeURIComponent(approval.id)}/decision`, { form: form(entered), reason }),
  }
}

/** What the task was created with. */
function Inputs(props: { task: string }) {
  const task = useResource(`inputs ${props.task}`, (signal) => get<TaskView>(`/v1/tasks/${props.task}`, signal))
  if (!task.data) return null
  return <section><h3>Task inputs</h3><Json value={task.data.context} label="Task inputs" /></section>
}

function VersionRow(props: { version: TemplateVersion; act: (action: Action) => void }) {
  const { version } = props
  const refused = refusal("templates:approve", version.namespace)
  const page = `/workflows/${version.namespace}/${version.name}`
  return (
    <li>
      <Icon name="flow" />
      <div class="grow">
        <a class="wf" href={href(`${page}?version=${encodeURIComponent(version.version)}`)}><b>{version.namespace}.{version.name}</b><span class="muted">{version.version}</span></a>
        <p class="muted">a new version by {version.registered_by}, <Time at={version.registered_at}>{ago(version.registered_at)}</Time></p>
        <a class="link" href={href(`${page}?${new URLSearchParams({ tab: "diff", from: "latest", to: version.version })}`)}>What changed</a>
      </div>
      <div class="act">
        <Button disabledBecause={refused} label={`Reject ${version.full_name}`} onClick={() => props.act(reviewAction(version, false))}>Reject…</Button>
        <Button kind="pri" disabledBecause={refused} label={`Approve ${version.full_name}`} onClick={() => props.act(reviewAction(version, true))}>Approve…</Button>
      </div>
    </li>
  )
}

export function reviewAction(version: TemplateVersion, approve: boolean): Action {
  const { namespace, name } = version
  const reference = `${namespace}.${name}@${version.version}`
  return {
    title: `${approve ? "Approve" : "Reject"} ${reference}`,
    effects: approve
      ? ["New tasks can use this version.", "Open tasks keep the version that they were created with.", "The schedules that it declares replace those of the previous version."]
      : ["No task can use this version.", "It can be registered again with changes."],
    button: `${approve ? "Approve" : "Reject"} ${plural(1, "version")}`,
    danger: !approve,
    needsReason: !approve,
    command: (reason) => withReason(`tasker template ${approve ? "approve" : "reject"} ${reference}`, reason),
    run: ({ reason }) => post(`/v1/template_versions/${namespace}/${name}/${encodeURIComponent(version.version)}/review`, { approve, reason }),
  }
}
