// One workflow: its graph, its inputs, its versions, how to call it, and a form that does.
import { useMemo, useState } from "preact/hooks"
import { get, may, post, Problem, queryOf } from "../api/client.ts"
import type { SnapshotView, TaskView, TemplateVersionList, TemplateView } from "../api/types.ts"
import { base, href, navigate, route, setQuery } from "../router.ts"
import { GraphView } from "../draw/graph.tsx"
import { quoted } from "../parts/action.tsx"
import { Button, Copy, Failed, Loading, plural, Time } from "../parts/bits.tsx"
import { Icon } from "../parts/icons.tsx"
import { Json } from "../parts/json.tsx"
import { Top } from "../parts/shell.tsx"
import { contextOf, fieldsOf, type FormField } from "../state/forms.ts"
import { pictureOf, type Picture } from "../state/picture.ts"
import { useResource } from "../state/resource.ts"

const TABS = { overview: "Overview", submit: "New task", inputs: "Inputs", versions: "Versions", call: "How to call it" } as const
type Tab = keyof typeof TABS

interface Loaded {
  template: TemplateView
  versions: TemplateVersionList
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
    return { template, versions }
  })
  const template = loaded.data?.template
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
              {template.status !== "approved" && <span class="pill s-retry">{template.status.replaceAll("_", " ")}</span>}
              <div class="act">
                <a class="btn" href={href(`/tasks?namespace=${namespace}&name=${name}`)}>Tasks</a>
                <Button kind="pri" icon="plus" disabledBecause={may("tasks:create", namespace) ? null : `needs the permission tasks:create in ${namespace}`} onClick={() => setQuery({ tab: "submit" })}>New task</Button>
              </div>
            </div>
            <p class="sec">{template.description}</p>
          </div>
          <div class="page">
            <nav class="states" aria-label="Of the workflow">
              {Object.entries(TABS).map(([key, label]) => (
                <a key={key} aria-current={key === tab ? "true" : undefined} href={href(`${route.value.path}${queryOf({ version: query.get("version"), tab: key === "overview" ? null : key })}`)}>{label}</a>
              ))}
            </nav>
            {tab === "overview" && <Overview template={template} />}
            {tab === "submit" && <Submit key={template.full_name} template={template} />}
            {tab === "inputs" && (template.input_schema ? <Json value={template.input_schema} label="Schema of the inputs" /> : <p class="muted">It declares no inputs: any JSON object is accepted.</p>)}
            {tab === "versions" && <Versions versions={loaded.data!.versions} current={template.version} />}
            {tab === "call" && <Call template={template} />}
          </div>
        </>
      )}
    </>
  )
}

/** The steps of a template, as if a task of it had not started. */
function pictureOfTemplate(template: TemplateView): Picture {
  const steps = template.steps
  const numbers = new Map(steps.map((step) => [step.name, step.no]))
  const none = steps.map(() => null)
  const snapshot: SnapshotView = {
    mark: null, now: 0, no: steps.map((step) => step.no), name: steps.map((step) => step.name), status: steps.map(() => "enqueued"),
    handler: steps.map((_, no) => no), handlers: steps.map((step) => step.handler), attempts: steps.map(() => 0), max_attempts: steps.map((step) => step.retry.max_attempts),
    enqueued: none, run_at: none, claimed: none, settled: none, worker: none, error: none, group: none, waits_for: none,
    parents: steps.map((step) => step.dependencies.map((one) => numbers.get(one)!).filter(Boolean)),
    paused: steps.map(() => false), no_worker: steps.map(() => false), workers: [], errors: [], groups: [], history: [], child_tasks: [],
    task: { ended_at: new Date(0).toISOString(), created_at: new Date(0).toISOString() } as SnapshotView["task"],
  }
  return pictureOf(snapshot)
}

function Overview(props: { template: TemplateView }) {
  const { template } = props
  const picture = useMemo(() => pictureOfTemplate(template), [template])
  const selected = route.value.query.get("step")
  const step = template.steps.find((one) => one.name === selected)
  const captions = useMemo(() => new Map(template.steps.map((one) => [one.name, one.handler.split(".").at(-1)!])), [template])
  return (
    <>
      <section class="panel graph">
        <header><h2>Graph</h2><span class="muted">{plural(template.steps.length, "step")}</span></header>
        <GraphView picture={picture} selected={selected} critical={new Set()} now={0} captions={captions} select={(key) => setQuery({ step: key === selected ? null : key }, { replace: true })} />
      </section>
      {step && (
        <section class="panel">
          <header><h2>{step.name}</h2><span class="muted ell">{step.description}</span></header>
          <dl class="pad">
            <dt>Handler</dt><dd class="mono">{step.handler}</dd>
            <dt>Waits for</dt><dd>{step.dependencies.join(", ") || "nothing"}</dd>
            <dt>Retry</dt><dd>{step.retry.retryable ? `${step.retry.backoff}, ${step.retry.initial_delay_seconds} s to ${step.retry.max_delay_seconds} s, ${plural(step.retry.max_attempts, "attempt")}` : "the first failure is final"}</dd>
            <dt>Time limit</dt><dd>{step.timeout_seconds === null ? "that of the worker" : `${step.timeout_seconds} s`}</dd>
          </dl>
        </section>
      )}
    </>
  )
}

function Versions(props: { versions: TemplateVersionList; current: string }) {
  return (
    <div class="tb">
      <table>
        <thead><tr><th>Version</th><th>Status</th><th>Registered</th><th class="narrow-hide">By</th><th class="narrow-hide">Decided by</th><th class="narrow-hide">Reason</th></tr></thead>
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

function Submit(props: { template: TemplateView }) {
  const { template } = props
  const fields = useMemo(() => fieldsOf(template.input_schema), [template])
  const [texts, setTexts] = useState<Record<string, string>>({})
  const [json, setJson] = useState("{}")
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
          <label class="field">Context, as JSON
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

function Field(props: { field: FormField; text: string; fault: string | null; set: (text: string) => void }) {
  const { field, text, fault } = props
  const id = `field-${field.name}`
  const common = { id, value: text, "aria-invalid": fault !== null, "aria-describedby": `${id}-help` }
  return (
    <div class="field-box">
      <label for={id}><b>{field.label}</b> {!field.required && <small class="muted">optional</small>}</label>
      {field.kind === "choice" || field.kind === "boolean" ? (
        <select class="text" {...common} onChange={(event) => props.set(event.currentTarget.value)}>
          {(!field.required || !field.initial) && <option value="" />}
          {field.choices.map((choice) => <option key={choice} value={choice}>{choice}</option>)}
        </select>
      ) : field.kind === "json" ? (
        <textarea class="text mono" rows={3} {...common} onInput={(event) => props.set(event.currentTarget.value)} />
      ) : (
        <input class="text" inputMode={field.kind === "text" ? "text" : "decimal"} {...common} onInput={(event) => props.set(event.currentTarget.value)} />
      )}
      <span id={`${id}-help`} class={fault ? "fault" : "muted"}>{fault ?? field.help}</span>
    </div>
  )
}
