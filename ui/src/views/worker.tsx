// One worker: what it runs, what it serves, where it is, and letting it drain.
import { useState } from "preact/hooks"
import { get, may, now, post, queryOf } from "../api/client.ts"
import type { WorkerAttemptList, WorkerDetail, WorkerInfo } from "../api/types.ts"
import { ActionDialog, withReason, type Action } from "../parts/action.tsx"
import { Button, Copy, Empty, Failed, Loading, Meter, plural, shortId, Stale, Time } from "../parts/bits.tsx"
import { Top } from "../parts/shell.tsx"
import { href } from "../router.ts"
import { useResource } from "../state/resource.ts"
import { ago, duration, tick } from "../state/time.ts"

const EVERY = 2_000
const EVERY_ATTEMPTS = 10_000
const MOST = 200 // steps that the API lists

export function WorkerPage(props: { id: string }) {
  const detail = useResource(`worker ${props.id}`, (signal) => get<WorkerDetail>(`/v1/workers/${encodeURIComponent(props.id)}`, signal), EVERY)
  const [action, setAction] = useState<Action | null>(null)
  const worker = detail.data?.worker
  if (!worker) {
    return (
      <>
        <Top crumbs={[["Workers", "/workers"], [props.id, null]]} />
        <div class="page">{detail.problem ? <Failed problem={detail.problem} what="this worker" reload={detail.reload} /> : <Loading what="the worker" />}</div>
      </>
    )
  }
  const refused = !worker.alive ? "its lease has expired" : may("workers:drain") ? null : "needs the permission workers:drain"
  return (
    <>
      <Top crumbs={[["Workers", "/workers"], [worker.name, null]]} />
      <div class="hd">
        <div class="l1">
          <h1 class="ell">{worker.name}</h1>
          <span class={`pill ${worker.alive ? "s-ok" : "s-idle"}`}>{worker.alive ? "alive" : "stopped"}</span>
          <div class="act"><Button icon="stop" disabledBecause={refused} onClick={() => setAction(drainAction(worker))}>Drain…</Button></div>
        </div>
        <Facts worker={worker} />
      </div>
      <div class="page">
        <Stale problem={detail.problem} reload={detail.reload} />
        <Steps detail={detail.data!} />
        <Attempts id={props.id} />
        <Queues detail={detail.data!} />
      </div>
      {action && <ActionDialog action={action} onClose={() => setAction(null)} onDone={() => { setAction(null); detail.reload() }} />}
    </>
  )
}

function Facts(props: { worker: WorkerInfo }) {
  const { worker } = props
  const { process } = worker
  tick.value
  const left = (Date.parse(worker.lease_until) - now()) / 1000
  const labels = Object.entries(process.labels)
  return (
    <div class="facts">
      <span><Meter value={worker.running} most={worker.slots} /> slots in use</span>
      <span>Started <b><Time at={worker.started_at} /></b>, {ago(worker.started_at)}</span>
      <span>{left > 0 ? <>Lease expires in <b>{duration(left)}</b> unless extended</> : <>Lease expired <b><Time at={worker.lease_until}>{ago(worker.lease_until)}</Time></b></>}</span>
      {process.host && <span>on <b>{process.host}</b>{process.pid > 0 && <>, process {process.pid}</>}</span>}
      {process.build && <span>build <b>{process.build}</b></span>}
      {process.sdk && <span>SDK <b>{process.sdk}</b></span>}
      {process.principal && <span>as <b>{process.principal}</b></span>}
      {labels.map(([key, value]) => <span key={key} class="chip">{key}={value}</span>)}
      <span class="mono muted id">{worker.id}</span>
      <Copy text={String(worker.id)} label="Copy the id" />
    </div>
  )
}

function Steps(props: { detail: WorkerDetail }) {
  const { steps, worker } = props.detail
  tick.value
  const hidden = worker.running - steps.length
  return (
    <section class="panel flat">
      <header><h2>Running steps</h2><span class="muted">{plural(steps.length, "step")}{steps.length < MOST && hidden > 0 ? `, and ${plural(hidden, "other")} in tasks that you cannot access` : ""}</span></header>
      {steps.length === 0 ? (
        <Empty icon="worker" title={worker.alive ? "No step is running" : "The worker has stopped"}>
          {worker.alive ? "The worker claims steps as soon as they are due in its queues." : "Other workers take over the steps that it was running when its lease expired."}
        </Empty>
      ) : (
        <table>
          <thead><tr><th>Step</th><th>Workflow</th><th class="narrow-hide">Task</th><th class="num">Attempt</th><th class="num">Running for</th></tr></thead>
          <tbody>
            {steps.map((one) => (
              <tr class="row" key={`${one.task_id} ${one.step}`}>
                <td><a class="wf" href={href(`/tasks/${one.task_id}?step=${encodeURIComponent(one.step)}`)}><b>{one.step}</b></a></td>
                <td><a class="link" href={href(`/workflows/${one.namespace}/${one.name}`)}>{one.namespace}.{one.name}</a> <span class="muted">{one.version}</span></td>
                <td class="narrow-hide mono">{shortId(one.task_id)}</td>
                <td class="num">{one.attempt}</td>
                <td class="num"><Time at={one.claimed_at}>{duration(Math.max(0, now() - Date.parse(one.claimed_at)) / 1000)}</Time></td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  )
}

/** What it did last. */
function Attempts(props: { id: string }) {
  const attempts = useResource(`attempts of ${props.id}`, (signal) => get<WorkerAttemptList>(`/v1/workers/${encodeURIComponent(props.id)}/attempts?limit=50`, signal), EVERY_ATTEMPTS)
  const list = attempts.data?.attempts
  return (
    <section class="panel flat">
      <header><h2>Recent attempts</h2><span class="muted ell">{list ? `${plural(list.length, "attempt")} in the newest 1,000 tasks` : ""}</span></header>
      {!list ? (
        attempts.problem ? <Failed problem={attempts.problem} what="its attempts" reload={attempts.reload} /> : <Loading what="its attempts" />
      ) : list.length === 0 ? (
        <p class="pad muted">The newest 1,000 tasks contain none of its attempts.</p>
      ) : (
        <table>
          <thead><tr><th>Step</th><th class="narrow-hide">Workflow</th><th class="narrow-hide">Task</th><th class="num">Attempt</th><th>Outcome</th><th class="num">Ran</th><th class="num narrow-hide">Ended</th></tr></thead>
          <tbody>
            {list.map((one) => (
              <tr class="row" key={`${one.task_id} ${one.step} ${one.attempt}`}>
                <td><a class="wf" href={href(`/tasks/${one.task_id}${queryOf({ step: one.step })}`)}><b>{one.step}</b></a></td>
                <td class="narrow-hide"><a class="link" href={href(`/workflows/${one.namespace}/${one.name}${queryOf({ version: one.version })}`)}>{one.namespace}.{one.name}</a> <span class="muted">{one.version}</span></td>
                <td class="narrow-hide mono">{shortId(one.task_id)}</td>
                <td class="num">{one.attempt}</td>
                <td class={one.error ? "c-err" : "sec"} title={one.error ?? undefined}>{one.outcome.replaceAll("_", " ")}{one.error && <span class="narrow-hide">: {one.error}</span>}</td>
                <td class="num">{one.claimed_at ? duration(Math.max(0, Date.parse(one.settled_at) - Date.parse(one.claimed_at)) / 1000) : "–"}</td>
                <td class="num narrow-hide sec"><Time at={one.settled_at}>{ago(one.settled_at)}</Time></td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  )
}

function Queues(props: { detail: WorkerDetail }) {
  const { queues, worker } = props.detail
  return (
    <section class="panel flat">
      <header><h2>Queues</h2><span class="muted">{plural(queues.length, "queue")}, served by {plural(worker.handlers.length, "handler")}</span></header>
      {queues.length === 0 ? (
        <p class="pad muted">{worker.alive ? "No template uses any of its handlers yet." : "A stopped worker serves no queues."} Handlers: {worker.handlers.join(", ")}</p>
      ) : (
        <table>
          <thead><tr><th>Handler</th><th>Namespace</th><th>Requires</th></tr></thead>
          <tbody>
            {queues.slice(0, 500).map((one) => (
              <tr class="row" key={`${one.namespace} ${one.handler} ${one.requirement}`}>
                <td><b class="strong" title={one.handler}>{one.handler}</b></td>
                <td><a class="link" href={href(`/namespaces/${one.namespace}`)}>{one.namespace}</a></td>
                <td class="sec">{one.requirement || "–"}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {queues.length > 500 && <p class="more">The first 500 of {queues.length.toLocaleString("en")} queues are shown.</p>}
    </section>
  )
}

function drainAction(worker: WorkerInfo): Action {
  return {
    title: `Drain the worker ${worker.name}`,
    effects: [
      "The worker claims no more steps.",
      worker.running ? `The ${plural(worker.running, "step")} that it is running ${worker.running === 1 ? "finishes" : "finish"} normally.` : "It is not running any steps.",
      "Steps that only this worker can run wait for another worker.",
      "This cannot be undone; start a new worker to replace it.",
    ],
    button: "Drain 1 worker",
    danger: true,
    needsReason: true,
    command: (reason) => withReason(`tasker worker drain ${worker.id}`, reason),
    run: ({ reason }) => post(`/v1/workers/${worker.id}/drain`, { reason }),
  }
}
