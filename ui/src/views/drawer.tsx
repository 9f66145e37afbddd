// The selected step: why, error, input, result, attempts, logs, audit, and what can be done.
import { useState } from "preact/hooks"
import { get, now as instant, post } from "../api/client.ts"
import type { AuditEntry, Reason, RevealedTask, Step, TaskView } from "../api/types.ts"
import { quoted, type Action } from "../parts/action.tsx"
import { Button, Copy, Failed, IconButton, Loading, shortId, Time } from "../parts/bits.tsx"
import { Glyph, Icon } from "../parts/icons.tsx"
import { hasMasked, Json } from "../parts/json.tsx"
import { href, route, setQuery } from "../router.ts"
import { refusal, retryStepAction, setResultAction, skipAction } from "../state/actions.ts"
import { ranFor, type Picture, type StepNode } from "../state/picture.ts"
import { useResource } from "../state/resource.ts"
import { countdown, duration, tick } from "../state/time.ts"
import { isUnusual, usually, usualOf } from "../state/usual.ts"
import { OUTCOME_LABELS, stepLook } from "../status.ts"
import { StepLogs } from "./logs.tsx"

const TABS = ["overview", "input", "result", "attempts", "logs", "audit"] as const
type Tab = (typeof TABS)[number]

interface Props {
  picture: Picture
  node: StepNode
  now: number
  act: (action: Action) => void
  close: () => void
  select: (key: string) => void
}

export function Drawer(props: Props) {
  const { picture, node } = props
  const asked = route.value.query.get("tab")
  const tab: Tab = TABS.find((one) => one === asked) ?? "overview"
  if (node.group) return <GroupDrawer {...props} />
  const { task } = picture.snapshot
  const retry = node.status === "error" ? refusal("steps:retry", task.namespace) : "only a failed step can be retried"
  const done = node.status === "complete" || node.status === "resolved_manually" || node.status === "skipped" || node.status === "cancelled"
  const settle = done ? "the step has ended" : refusal("steps:resolve", task.namespace)
  return (
    <aside class="drawer" aria-label={`Step ${node.name}`}>
      <div class="dh">
        <div class="t">
          <Glyph look={stepLook(node.status)} title />
          <h2 class="ell" title={node.name}>{node.name}</h2>
          <div class="nav2">
            <Copy text={location.href} label="Copy the link" />
            <IconButton icon="x" label="Close" onClick={props.close} />
          </div>
        </div>
        <div class="tabs" role="tablist" aria-label="Step">
          {TABS.map((name) => (
            <button
              type="button"
              role="tab"
              key={name}
              id={`tab-${name}`}
              aria-selected={name === tab}
              aria-controls="tab-panel"
              onClick={() => setQuery({ tab: name === "overview" ? null : name }, { replace: true })}
            >
              {name[0]!.toUpperCase() + name.slice(1)}
              {name === "attempts" && node.attempts > 0 && <small> {node.attempts}</small>}
            </button>
          ))}
        </div>
      </div>
      <div class="db" role="tabpanel" id="tab-panel" aria-labelledby={`tab-${tab}`} tabIndex={0}>
        {tab === "overview" && <Overview {...props} />}
        {tab === "input" && <Input {...props} />}
        {tab === "result" && <Result {...props} />}
        {tab === "attempts" && <Attempts {...props} />}
        {tab === "logs" && <StepLogs key={node.key} task={task.id} node={node} />}
        {tab === "audit" && <Audit {...props} />}
      </div>
      <div class="da">
        <Button icon="retry" disabledBecause={retry} onClick={() => props.act(retryStepAction(picture, node))}>Retry…</Button>
        <Button disabledBecause={settle} onClick={() => props.act(setResultAction(picture, node))}>Set result…</Button>
        <Button disabledBecause={settle} onClick={() => props.act(skipAction(picture, node))}>Skip…</Button>
      </div>
    </aside>
  )
}

function useStep(props: Props) {
  const { picture, node } = props
  const { task } = picture.snapshot
  return useResource(`step ${task.id} ${node.key} ${node.status} ${node.attempts}`, (signal) =>
    get<Step>(`/v1/tasks/${task.id}/steps/${encodeURIComponent(node.name)}`, signal),
  )
}

function Overview(props: Props) {
  const { picture, node } = props
  const { task } = picture.snapshot
  const usual = usualOf(task, node.name)
  const ended = node.status === "complete" || node.status === "resolved_manually" || node.status === "skipped" || node.status === "cancelled"
  const why = useResource(`why ${task.id} ${node.key} ${node.status} ${node.attempts} ${node.paused}`, (signal) =>
    ended ? Promise.resolve([]) : get<Reason[]>(`/v1/tasks/${task.id}/why?step=${encodeURIComponent(node.name)}`, signal),
  )
  return (
    <>
      {!ended && node.status !== "error" && why.data && why.data.length > 0 && (
        <section>
          <h3>{node.status === "in_progress" ? "Current state" : "Why is it not running?"}</h3>
          <ul class="effects">
            {why.data.map((reason) => <ReasonLine key={reason.text} reason={reason} node={node} />)}
            {node.status !== "error" && node.parents.map((key) => {
              const parent = picture.byKey.get(key)!
              return <li key={key}><Glyph look={stepLook(parent.status)} /><span><StepLink {...props} to={key} /> {stateOf(parent)}</span></li>
            })}
          </ul>
        </section>
      )}
      {node.error && node.status !== "complete" && (
        <section>
          <h3>Last error</h3>
          <div class="error">
            <div class="m">
              <b>{node.error.code ?? node.error.type}</b> {node.error.code && <span class="sec">{node.error.type}</span>}
              <p>{node.error.message}</p>
            </div>
            <ErrorFacts {...props} />
          </div>
        </section>
      )}
      <section>
        <h3>Details</h3>
        <dl>
          <dt>Handler</dt><dd class="mono" title={node.handler}>{node.handler}</dd>
          {node.worker && <><dt>Worker</dt><dd>{node.worker}</dd></>}
          <dt>Attempts</dt><dd>{node.countedAttempts <= node.maxAttempts ? `${node.countedAttempts} of ${node.maxAttempts}` : `${node.countedAttempts} (the retry policy allows ${node.maxAttempts})`}</dd>
          {node.claimed !== null && <><dt>Started</dt><dd><Time at={Date.parse(task.created_at) + node.claimed} /></dd></>}
          {ranFor(node, props.now) > 0 && <><dt>Ran</dt><dd>{duration(ranFor(node, props.now))}</dd></>}
          {usual && <><dt>Usually</dt><dd class={isUnusual(usual, ranFor(node, props.now)) ? "c-retry" : ""}>{usually(usual).slice(8)}</dd></>}
          {node.parents.length > 0 && <><dt>Depends on</dt><dd><StepLinks {...props} keys={node.parents} /></dd></>}
          {node.children.length > 0 && <><dt>Dependents</dt><dd><StepLinks {...props} keys={node.children} /></dd></>}
          {node.waitsFor && <><dt>Waits for</dt><dd><a href={href(`/tasks/${node.waitsFor}`)}>{node.waitsFor}</a></dd></>}
        </dl>
      </section>
    </>
  )
}

function ReasonLine(props: { reason: Reason; node: StepNode }) {
  tick.value
  const { reason } = props
  const left = reason.until ? Date.parse(reason.until) - instant() : null
  return (
    <li>
      {reason.code === "paused" ? <Icon name="pause" /> : <Glyph look={stepLook(props.node.status)} />}
      <span>
        {reason.text} {reason.until && <>Due at <b><Time at={reason.until} /></b>{left !== null && left > 0 && `, in ${countdown(left)}`}.</>}
        {reason.worker && <span class="muted"> On {reason.worker}.</span>}
      </span>
    </li>
  )
}

function stateOf(node: StepNode): string {
  return node.group ? `has ${node.group.count.toLocaleString("en")} steps` : `is ${stepLook(node.status).label.toLowerCase()}`
}

function StepLink(props: Props & { to: string }) {
  const name = props.picture.byKey.get(props.to)?.name ?? props.to
  return <button type="button" class="link" onClick={() => props.select(props.to)}>{name}</button>
}

function StepLinks(props: Props & { keys: readonly string[] }) {
  return (
    <>
      {props.keys.slice(0, 6).map((key, no) => <span key={key}>{no > 0 && ", "}<StepLink {...props} to={key} /></span>)}
      {props.keys.length > 6 && ` and ${props.keys.length - 6} more`}
    </>
  )
}

function ErrorFacts(props: Props) {
  const step = useStep(props)
  const error = step.data?.error ?? {}
  const details = error["details"]
  const shown: [string, unknown][] = details !== null && typeof details === "object" ? Object.entries(details) : []
  const trace = error["traceback"]
  return (
    <>
      {shown.length > 0 && <div class="f">{shown.slice(0, 6).map(([key, value]) => <span key={key}>{key} {typeof value === "object" ? JSON.stringify(value) : String(value)}</span>)}</div>}
      {typeof trace === "string" && trace && <details class="f trace"><summary>Traceback</summary><pre>{trace}</pre></details>}
      <div class="f">
        <a href={href(`/tasks?${new URLSearchParams({ ...(props.node.error?.code ? { error_code: props.node.error.code } : {}), failed_step: props.node.name })}`)}>Other tasks with this failure</a>
      </div>
    </>
  )
}

function Input(props: Props) {
  const { picture, node } = props
  const { task } = picture.snapshot
  const whole = useResource(`task ${task.id}`, (signal) => get<TaskView>(`/v1/tasks/${task.id}`, signal))
  const parents = useResource(`parents ${task.id} ${node.key} ${node.parents.map((key) => picture.byKey.get(key)?.status).join()}`, (signal) =>
    Promise.all(
      node.parents
        .filter((key) => !picture.byKey.get(key)?.group)
        .slice(0, 10)
        .map((key) => get<Step>(`/v1/tasks/${task.id}/steps/${encodeURIComponent(key)}`, signal)),
    ),
  )
  if (whole.problem) return <Failed problem={whole.problem} what="the input" reload={whole.reload} />
  if (!whole.data) return <Loading what="the input" />
  return (
    <>
      <section>
        <h3>Context <span class="muted">of the task</span><Copy text={JSON.stringify(whole.data.context, null, 2)} label="Copy the context" /></h3>
        <Masked {...props} value={whole.data.context} label="Context" pick={(revealed) => revealed.context} />
      </section>
      {parents.data?.map((parent) => (
        <section key={parent.name}>
          <h3>Result of {parent.name}</h3>
          <Json value={parent.result} label={`Result of ${parent.name}`} />
        </section>
      ))}
    </>
  )
}

/** A value that can be revealed if a part of it is masked. */
function Masked(props: Props & { value: unknown; label: string; pick: (revealed: RevealedTask) => unknown }) {
  const { picture, node, value, label } = props
  const { task } = picture.snapshot
  const [revealed, setRevealed] = useState<{ value: unknown } | null>(null)
  if (revealed) return <Json value={revealed.value} label={label} />
  if (!hasMasked(value)) return <Json value={value} label={label} />
  const reveal: Action = {
    title: `Reveal the data of ${node.name}`,
    effects: ["The task's inputs and the step's result are shown to you.", "The task's audit log records this with your reason."],
    button: "Reveal 1 step",
    needsReason: true,
    command: (reason) => `tasker task reveal ${shortId(task.id)} --step ${quoted(node.name)} --reason ${quoted(reason)}`,
    run: async ({ reason }) => setRevealed({ value: props.pick(await post<RevealedTask>(`/v1/tasks/${task.id}/reveal`, { reason, step: node.name })) }),
  }
  return (
    <>
      <Json value={value} label={label} />
      <Button small disabledBecause={refusal("payloads:reveal", task.namespace)} onClick={() => props.act(reveal)}>Reveal…</Button>
    </>
  )
}

function Result(props: Props) {
  const step = useStep(props)
  if (step.problem) return <Failed problem={step.problem} what="the result" reload={step.reload} />
  if (!step.data) return <Loading what="the result" />
  const { result, checkpoint, status } = step.data
  const hasResult = status === "complete" || status === "resolved_manually"
  return (
    <>
      <section>
        <h3>Result {hasResult && <Copy text={JSON.stringify(result, null, 2)} label="Copy the result" />}</h3>
        {hasResult ? <Masked {...props} value={result} label="Result" pick={(revealed) => revealed.steps[0]?.result} /> : <p class="muted">None yet: the step is not complete.</p>}
      </section>
      {checkpoint !== null && (
        <section><h3>Checkpoint <span class="muted">for the next attempt</span></h3><Json value={checkpoint} label="Checkpoint" /></section>
      )}
    </>
  )
}

function Attempts(props: Props) {
  const { picture, node } = props
  const { snapshot } = picture
  const created = Date.parse(snapshot.task.created_at)
  if (node.history.length === 0) return <p class="muted">No attempt has ended yet.</p>
  return (
    <ol class="attempts">
      {[...node.history].reverse().map((one) => {
        const error = one.error === null ? null : snapshot.errors[one.error]
        return (
          <li key={one.attempt}>
            <p><b>Attempt {one.attempt}</b> <span class={error ? "c-err" : "sec"}>{OUTCOME_LABELS[one.outcome] ?? one.outcome}</span>
              <span class="sp muted"><Time at={created + one.settled} /></span></p>
            <p class="sec">
              {one.claimed !== null && <>ran {duration((one.settled - one.claimed) / 1000)}</>}
              {one.enqueued !== null && one.claimed !== null && one.claimed - one.enqueued > 1 && <>, queued {duration((one.claimed - one.enqueued) / 1000)}</>}
              {one.worker !== null && <>, on {snapshot.workers[one.worker]}</>}
            </p>
            {error && <p class="msg"><b>{error.code ?? error.type}</b> {error.message}</p>}
          </li>
        )
      })}
    </ol>
  )
}

function Audit(props: Props) {
  const { task, mark } = props.picture.snapshot
  const audit = useResource(`audit ${task.id} ${mark}`, (signal) => get<AuditEntry[]>(`/v1/tasks/${task.id}/audit`, signal))
  if (audit.problem) return <Failed problem={audit.problem} what="the audit log" reload={audit.reload} />
  if (!audit.data) return <Loading what="the audit log" />
  const entries = audit.data.filter((entry) => entry.step === null || entry.step === props.node.name)
  if (entries.length === 0) return <p class="muted">No operator has acted on this step. Operators' actions are listed here, with their reasons.</p>
  return (
    <ol class="attempts">
      {[...entries].reverse().map((entry) => (
        <li key={entry.at + entry.action}>
          <p><b>{entry.actor}</b> {entry.via && <span class="muted">via {entry.via}</span>} {entry.action}{entry.step === null && " (the task)"} <span class="sp muted"><Time at={entry.at} /></span></p>
          <p class="sec">{entry.before} → {entry.after}</p>
          {entry.reason && <p>{entry.reason}</p>}
        </li>
      ))}
    </ol>
  )
}

function GroupDrawer(props: Props) {
  const { node } = props
  const group = node.group!
  const [opening, setOpening] = useState(false)
  return (
    <aside class="drawer" aria-label={`Steps ${node.name}`}>
      <div class="dh">
        <div class="t">
          <Glyph look={stepLook(node.status)} />
          <h2 class="ell" title={node.name}>{group.label}</h2>
          <div class="nav2"><IconButton icon="x" label="Close" onClick={props.close} /></div>
        </div>
      </div>
      <div class="db">
        <section>
          <h3>{group.count.toLocaleString("en")} identical steps</h3>
          <ul class="effects">
            {Object.entries(group.by_status).sort(([, a], [, b]) => b - a).map(([status, count]) => (
              <li key={status}><Glyph look={stepLook(status)} /><span>{count.toLocaleString("en")} {stepLook(status).label.toLowerCase()}</span></li>
            ))}
          </ul>
        </section>
        <section>
          <h3>Details</h3>
          <dl>
            <dt>Handler</dt><dd class="mono">{group.handler}</dd>
            {node.parents.length > 0 && <><dt>Depends on</dt><dd><StepLinks {...props} keys={node.parents} /></dd></>}
            {node.children.length > 0 && <><dt>Dependents</dt><dd><StepLinks {...props} keys={node.children} /></dd></>}
          </dl>
        </section>
      </div>
      <div class="da">
        <Button
          disabledBecause={opening ? "in progress" : null}
          onClick={() => {
            setOpening(true)
            setQuery({ open: group.id, view: "table", step: null })
          }}
        >
          List its steps
        </Button>
      </div>
    </aside>
  )
}
