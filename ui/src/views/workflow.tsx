// One workflow: its graph, its inputs, its versions, how to call it, and a form that does.
import { useMemo, useState } from "preact/hooks"
import { forgetDraft, useDraft } from "../state/drafts.ts"
import { get, may, post, Problem, queryOf } from "../api/client.ts"
import type { PauseList, TaskView, TemplateVersionList, TemplateView } from "../api/types.ts"
import { base, href, navigate, route, setQuery } from "../router.ts"
import { GraphView } from "../draw/graph.tsx"
import { ActionDialog, quoted, type Action } from "../parts/action.tsx"
import { Field } from "../parts/field.tsx"
import { Button, Copy, Failed, Loading, plural, Time } from "../parts/bits.tsx"
import { Icon } from "../parts/icons.tsx"
import { Json } from "../parts/json.tsx"
import { Top } from "../parts/shell.tsx"
import { boundsOf, conditionOf, detailsOf, schedulesOf, workOf, type Declared } from "./declared.ts"
import { Diff } from "./diff.tsx"
import { pauseTargetAction, refusal } from "../state/actions.ts"
import { contextOf, fieldsOf, type FormField } from "../state/forms.ts"
import { pictureOf, pictureOfSteps } from "../state/picture.ts"
import { useResource } from "../state/resource.ts"
import { duration } from "../state/time.ts"
import { usually, useUsual } from "../state/usual.ts"

const TABS = { overview: "Overview", submit: "New task", inputs: "Inputs", versions: "Versions", diff: "What changed", call: "API calls" } as const
const ENGINE = "tasker.engine" // handles waits, approvals and child tasks
type Tab = keyof typeof TABS

interface Loaded {
  template: TemplateView
  versions: TemplateVersionList
  pauses: PauseList
}

export function Workflow(props: { namespace: string; name: string }) {
  const { namespace, name } = props
  const { query } = route.value
  const version = query.get("version") ?? "latest"
  const asked = query.get("tab") ?? ""
  const tab: Tab = asked in TABS ? (asked as Tab) : "overview"
  const loaded = useResource<Loaded>(`workflow ${namespace}.${name}@${version}`, async (signal) => {
    const versions = await get<TemplateVersionList>(`/v1/template_versions${queryOf({ namespace, name })}`, signal)
    const template = await get<TemplateView>(`/v1/templates/${namespace}/${name}/${encodeURIComponent(version)}`, signal)
    const pauses = may("queues:read", namespace) ? await get<PauseList>(`/v1/pauses${queryOf({ namespace })}`, signal) : { pauses: [] }
    return { template, versions, pauses }
  })
  const [action, setAction] = useState<Action | null>(null)
  const template = loaded.data?.template
  const pause = loaded.data?.pauses.pauses.find((one) => one.kind === "template" && one.name === name)
  return (
    <>
      <Top crumbs={[["Workflows", "/workflows"], [namespace, `/workflows?namespace=${namespace}`], [name, null]]} />
      {!template ? (
        <div class="page">{loaded.problem ? <Failed problem={loaded.problem} what="this workflow" reload={loaded.reload} /> : <Loading what="the workflow" />}</div>
      ) : (
        <>
          <div class="hd">
            <div class="l1">
              <h1 class="ell">{name} <span>{template.version}</span></h1>
              {pause && <span class="pill s-park" title={pause.reason}>paused by {pause.paused_by}</span>}
              {template.status !== "approved" && <span class="pill s-retry">{template.status.replaceAll("_", " ")}</span>}
              <div class="act">
                <a class="btn" href={href(`/tasks?namespace=${namespace}&name=${name}`)}>Tasks</a>
                <Button icon="pause" disabledBecause={refusal("templates:pause", namespace)} onClick={() => setAction(pauseTargetAction({ kind: "template", namespace, name }, pause))}>{pause ? "Resume…" : "Pause…"}</Button>
                <Button kind="pri" icon="plus" disabledBecause={may("tasks:create", namespace) ? null : `needs the permission tasks:create in ${namespace}`} onClick={() => setQuery({ tab: "submit" })}>New task</Button>
              </div>
            </div>
            <p class="sec">{template.description}</p>
          </div>
          <div class="page">
            <nav class="states" aria-label="Workflow">
              {Object.entries(TABS).map(([key, label]) => (
                <a key={key} aria-current={key === tab ? "true" : undefined} href={href(`${route.value.path}${queryOf({ version: query.get("version"), tab: key === "overview" ? null : key })}`)}>{label}</a>
              ))}
            </nav>
            {tab === "overview" && <Overview template={template} />}
            {tab === "submit" && <Submit key={template.full_name} template={template} />}
            {tab === "inputs" && (template.input_schema ? <Json value={template.input_schema} label="Input schema" /> : <p class="muted">This workflow declares no inputs; any JSON object is accepted.</p>)}
            {tab === "versions" && <Versions versions={loaded.data!.versions} current={template.version} />}
            {tab === "diff" && <Diff namespace={namespace} name={name} versions={loaded.data!.versions} current={template.version} />}
            {tab === "call" && <Call template={template} />}
          </div>
        </>
      )}
      {action && <ActionDialog action={action} onClose={() => setAction(null)} onDone={() => { setAction(null); loaded.reload() }} />}
    </>
  )
}

function Overview(props: { template: TemplateView }) {
  const { template } = props
  const declared = template.document as Declared
  const conditional = new Set(declared.steps.filter((one) => one.when ?? one.trigger).map((one) => one.name))
  const picture = useMemo(() => pictureOf(pictureOfSteps(template.steps, template.steps.map((one) => (conditional.has(one.name) ? "pending" : "enqueued")))), [template])
  const selected = route.value.query.get("step")
  const step = template.steps.find((one) => one.name === selected)
  const usual = useUsual(template)
  const works = new Map(declared.steps.filter((one) => one.wait ?? one.approval ?? one.task ?? one.http ?? one.map ?? one.batch ?? one.repeat).map((one) => [one.name, workOf(one)]))
  const captions = useMemo(
    () => new Map(template.steps.map((one) => [one.name, `${works.get(one.name) ?? one.handler.split(".").at(-1)!}${usual?.steps[one.name] ? `, ~${duration(usual.steps[one.name]!.median)}` : ""}`])),
    [template, usual],
  )
  return (
    <>
      <section class="panel graph">
        <header><h2>Graph</h2><span class="muted">{plural(template.steps.length, "step")}{usual?.task && `, ${usually(usual.task)} in the newest ${plural(usual.task.runs, "complete task")}`}{conditional.size > 0 && "; dashed steps may be skipped"}</span></header>
        <GraphView picture={picture} selected={selected} critical={new Set()} now={0} fileName={`${template.name}-${template.version}`} captions={captions} select={(key) => setQuery({ step: key === selected ? null : key }, { replace: true })} />
      </section>
      {step && (
        <section class="panel">
          <header><h2>{step.name}</h2><span class="muted ell">{step.description}</span></header>
          <dl class="pad">
            <dt>Handler</dt><dd class="mono">{step.handler}</dd>
            <dt>Depends on</dt><dd>{step.dependencies.join(", ") || "no other step"}</dd>
            <dt>Retry</dt><dd>{step.retry.retryable ? `${step.retry.backoff}, ${step.retry.initial_delay_seconds} s to ${step.retry.max_delay_seconds} s, ${plural(step.retry.max_attempts, "attempt")}` : "none"}</dd>
            {usual?.steps[step.name] && <><dt>Usually</dt><dd>{usually(usual.steps[step.name]!).slice(8)}, in {plural(usual.steps[step.name]!.runs, "run")}</dd></>}
            <dt>Timeout</dt><dd>{step.timeout_seconds === null ? "the worker's default" : `${step.timeout_seconds} s`}</dd>
          </dl>
        </section>
      )}
      <Bounds template={template} declared={declared} />
      <Steps template={template} declared={declared} selected={selected} />
    </>
  )
}

/** The limits and schedules of the whole workflow. */
function Bounds(props: { template: TemplateView; declared: Declared }) {
  const [bounds, schedules] = [boundsOf(props.declared), schedulesOf(props.declared)]
  if (bounds.length + schedules.length === 0) return null
  return (
    <section class="panel flat">
      <header><h2>Limits and schedules</h2></header>
      <dl class="pad">
        {bounds.length > 0 && <><dt>Limits</dt><dd>{bounds.join("; ")}</dd></>}
        {schedules.map(({ name, times }) => (
          <><dt>Schedule</dt><dd><a class="link" href={href(`/schedules?namespace=${props.template.namespace}`)}>{name}</a> <span class="mono">{times}</span></dd></>
        ))}
      </dl>
    </section>
  )
}

function retryOf({ retry, timeout_seconds }: TemplateView["steps"][number]): string {
  const attempts = retry.retryable && retry.max_attempts > 1 && `${plural(retry.max_attempts, "attempt")}, ${retry.backoff} from ${duration(retry.initial_delay_seconds)}`
  return [attempts, timeout_seconds !== null && `timeout ${duration(timeout_seconds)}`].filter(Boolean).join(", ").replaceAll(".0 s", " s")
}

/** What each step does, and what it declares. */
function Steps(props: { template: TemplateView; declared: Declared; selected: string | null }) {
  const views = new Map(props.template.steps.map((one) => [one.name, one]))
  const details = props.declared.steps.some(detailsOf)
  return (
    <section class="panel flat">
      <header><h2>Steps</h2></header>
      <div class="scroll-x">
        <table>
          <thead><tr><th>Step</th><th>Work</th><th>Condition</th><th class="narrow-hide">Attempts</th>{details && <th class="narrow-hide">Limits and events</th>}</tr></thead>
          <tbody>
            {props.declared.steps.map((step) => {
              const view = views.get(step.name)
              return (
                <tr class={`row${step.name === props.selected ? " cur" : ""}`} key={step.name}>
                  <td><button type="button" class="link" onClick={() => setQuery({ step: step.name === props.selected ? null : step.name }, { replace: true })}>{step.name}</button></td>
                  <td class="wrap sec">{workOf(step)}</td>
                  <td class="wrap c-retry">{conditionOf(step)}</td>
                  <td class="wrap sec narrow-hide">{view && view.handler !== ENGINE && retryOf(view)}</td>
                  {details && <td class="wrap sec narrow-hide">{detailsOf(step)}</td>}
                </tr>
              )
            })}
          </tbody>
        </table>
      </div>
    </section>
  )
}

function Versions(props: { versions: TemplateVersionList; current: string }) {
  return (
    <div class="tb">
      <table>
        <thead><tr><th>Version</th><th>Status</th><th>Registered</th><th class="narrow-hide">Registered by</th><th class="narrow-hide">Decided by</th><th class="narrow-hide">Reason</th></tr></thead>
        <tbody>
          {props.versions.versions.map((one) => (
            <tr class={`row${one.version === props.current ? " cur" : ""}`} key={`${one.version} ${one.status} ${one.registered_at}`}>
              <td><a class="wf" href={href(`/workflows/${one.namespace}/${one.name}?version=${encodeURIComponent(one.version)}`)}><b>{one.version}</b></a></td>
              <td class={one.status === "approved" ? "" : "c-retry"}>{one.status.replaceAll("_", " ")}</td>
              <td><Time at={one.registered_at} /></td>
              <td class="narrow-hide sec">{one.registered_by}</td>
              <td class="narrow-hide sec">{one.decided_by ?? "–"}</td>
              <td class="narrow-hide sec">{one.reason}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

function exampleOf(template: TemplateView): Record<string, unknown> {
  const fields = fieldsOf(template.input_schema) ?? []
  const value = (field: FormField) =>
    field.kind === "number" || field.kind === "integer" ? 1 : field.kind === "boolean" ? true : field.kind === "json" ? {} : (field.choices[0] ?? "…")
  return Object.fromEntries(fields.filter((field) => field.required).map((field) => [field.name, value(field)]))
}

function Call(props: { template: TemplateView }) {
  const { namespace, name, version } = props.template
  const context = exampleOf(props.template)
  const compact = JSON.stringify(context)
  const examples: [string, string][] = [
    ["Command line", `tasker task create ${namespace}.${name}@${version} --context ${quoted(compact)}`],
    ["HTTP", `curl -X POST ${location.origin}${base}/v1/tasks \\\n  -H "Authorization: Bearer $TASKER_API_KEY" -H "Content-Type: application/json" \\\n  -d ${quoted(JSON.stringify({ namespace, name, version, context }))}`],
    ["Python", `from tasker import connect\n\nasync with connect("${location.origin}${base}") as client:\n    task = await client.create_task("${namespace}.${name}@${version}", ${pythonOf(context)})`],
  ]
  return (
    <>
      {examples.map(([label, text]) => (
        <section key={label}>
          <h2 class="small">{label} <Copy text={text} label={`Copy: ${label}`} /></h2>
          <pre class="json" tabIndex={0}>{text}</pre>
        </section>
      ))}
    </>
  )
}

function pythonOf(value: unknown): string {
  return JSON.stringify(value).replaceAll(":true", ": True").replaceAll(":false", ": False").replaceAll(":null", ": None")
}

/** The form of a workflow on a page of its own. */
export function LoadedSubmit(props: { namespace: string; name: string; version: string }) {
  const { namespace, name, version } = props
  const template = useResource(`template ${namespace}.${name}@${version}`, (signal) => get<TemplateView>(`/v1/templates/${namespace}/${name}/${encodeURIComponent(version)}`, signal))
  if (!template.data) return template.problem ? <Failed problem={template.problem} what="this workflow" reload={template.reload} /> : <Loading what="the workflow" />
  return (
    <>
      <p class="sec">{template.data.description}</p>
      <Submit template={template.data} />
    </>
  )
}

function Submit(props: { template: TemplateView }) {
  const { template } = props
  const fields = useMemo(() => fieldsOf(template.input_schema), [template])
  const [texts, setTexts] = useDraft<Record<string, string>>("submit", "texts", {})
  const [json, setJson] = useDraft("submit", "json", "{}")
  const [tried, setTried] = useState(false)
  const [problem, setProblem] = useState<Problem | null>(null)
  const [busy, setBusy] = useState(false)
  const allowed = may("tasks:create", template.namespace) ? null : `needs the permission tasks:create in ${template.namespace}`
  const entered = fields ? contextOf(fields, texts) : parsed(json)
  const faults: Record<string, string> = { ...entered.faults, ...faultsOf(problem) }
  const submit = async () => {
    setTried(true)
    if (Object.keys(entered.faults).length || busy) return
    setBusy(true)
    setProblem(null)
    try {
      const { namespace, name, version } = template
      const task = await post<TaskView>("/v1/tasks", { namespace, name, version, context: entered.context, reason: "submitted in the web UI" })
      forgetDraft("submit")
      navigate(`/tasks/${task.id}`)
    } catch (error) {
      setProblem(error instanceof Problem ? error : new Problem(0, "unexpected", String(error)))
    } finally {
      setBusy(false)
    }
  }
  return (
    <div class="two-cols">
      <form class="form" noValidate onSubmit={(event) => { event.preventDefault(); if (allowed === null) void submit() }}>
        {fields ? fields.map((field) => (
          <Field key={field.name} field={field} text={texts[field.name] ?? field.initial} fault={tried ? (faults[field.name] ?? null) : null} set={(text) => { setProblem(null); setTexts({ ...texts, [field.name]: text }) }} />
        )) : (
          <label class="field">Context as JSON
            <textarea class="text mono" rows={8} value={json} aria-invalid={tried && "" in faults} onInput={(event) => setJson(event.currentTarget.value)} />
            {tried && faults[""] && <span class="fault">{faults[""]}</span>}
          </label>
        )}
        {problem && <p class="notice err" role="alert"><Icon name="fail" />{problem.detail}</p>}
        <div><Button kind="pri" type="submit" disabledBecause={busy ? "in progress" : allowed}>Create 1 task</Button></div>
      </form>
      <section><h2 class="small">Context <span class="muted">as it will be sent</span></h2><pre class="json" tabIndex={0}>{JSON.stringify(entered.context, null, 2)}</pre></section>
    </div>
  )
}

function parsed(text: string): { context: Record<string, unknown>; faults: Record<string, string> } {
  try {
    const value: unknown = JSON.parse(text)
    if (value !== null && typeof value === "object" && !Array.isArray(value)) return { context: value as Record<string, unknown>, faults: {} }
    return { context: {}, faults: { "": "must be a JSON object" } }
  } catch (error) {
    return { context: {}, faults: { "": error instanceof Error ? error.message : String(error) } }
  }
}

/** The server's complaints by field. */
function faultsOf(problem: Problem | null): Record<string, string> {
  const errors = problem?.more["errors"]
  if (!Array.isArray(errors)) return {}
  return Object.fromEntries(
    (errors as { path: string; message: string }[]).map(({ path, message }) => [path.replace(/^\$\.?(context\.)?/, "").split(/[.[]/)[0] ?? "", message]),
  )
}
