// Workers: who is alive, how busy; and the queues that they serve.
import { useEffect, useState } from "preact/hooks"
import { get, may, queryOf } from "../api/client.ts"
import type { QueueList, QueueView, WorkerInfo, WorkerList } from "../api/types.ts"
import { ActionDialog, type Action } from "../parts/action.tsx"
import { Button, Empty, Failed, Loading, Meter, plural, Stale, Time } from "../parts/bits.tsx"
import { Top } from "../parts/shell.tsx"
import { pauseTargetAction, refusal } from "../state/actions.ts"
import { href } from "../router.ts"
import { useResource } from "../state/resource.ts"
import { badges, namespaceOf } from "../state/shell.ts"
import { ago } from "../state/time.ts"

const EVERY = 3_000

export function Workers() {
  const namespace = namespaceOf()
  const workers = useResource("workers", (signal) => get<WorkerList>("/v1/workers", signal), EVERY)
  const queues = useResource(
    `queues ${namespace}`,
    (signal) => (may("queues:read") ? get<QueueList>(`/v1/queues${queryOf({ namespace })}`, signal) : Promise.resolve({ queues: [] })),
    EVERY,
  )
  const list = workers.data?.workers ?? []
  const alive = list.filter((worker) => worker.alive)
  const [action, setAction] = useState<Action | null>(null)
  useEffect(() => {
    if (workers.data) badges.value = { ...badges.peek(), "/workers": alive.length }
  }, [workers.data])
  return (
    <>
      <Top crumbs={[["Workers", null]]} />
      <div class="page">
        <div class="ph"><h1>Workers</h1><span class="muted">{workers.data ? `${plural(alive.length, "worker")} alive` : ""}</span></div>
        {workers.data && <Stale problem={workers.problem ?? queues.problem} reload={workers.reload} />}
        {!workers.data && workers.problem ? (
          <Failed problem={workers.problem} what="workers" reload={workers.reload} />
        ) : !workers.data ? (
          <Loading what="workers" />
        ) : list.length === 0 ? (
          <Empty icon="worker" title="No worker has registered yet" command="tasker worker handlers.py --namespace NAMESPACE">
            Workers are processes that run the steps of tasks. Start one that uses this store.
          </Empty>
        ) : (
          <WorkerTable workers={[...alive, ...list.filter((worker) => !worker.alive).slice(0, 20)]} />
        )}
        {queues.data && queues.data.queues.length > 0 && (
          <>
            <div class="ph"><h2 class="title">Queues</h2><span class="muted">enqueued steps, by handler</span></div>
            <QueueTable queues={queues.data.queues} act={setAction} />
          </>
        )}
      </div>
      {action && <ActionDialog action={action} onClose={() => setAction(null)} onDone={() => { setAction(null); queues.reload() }} />}
    </>
  )
}

function WorkerTable(props: { workers: WorkerInfo[] }) {
  return (
    <div class="tb flat">
      <table>
        <thead><tr><th>Worker</th><th>Status</th><th>Slots in use</th><th class="num">Handlers</th><th class="narrow-hide">Labels</th><th class="num narrow-hide">Started</th></tr></thead>
        <tbody>
          {props.workers.map((worker) => (
            <tr class="row" key={worker.id}>
              <td><a class="wf" href={href(`/workers/${worker.id}`)} title={worker.handlers.join("\n")}><b>{worker.name}</b></a></td>
              <td class={worker.alive ? "s-ok" : "muted"}>{worker.alive ? "alive" : <>stopped, <Time at={worker.lease_until}>{ago(worker.lease_until)}</Time></>}</td>
              <td><Meter value={worker.running} most={worker.slots} /></td>
              <td class="num">{worker.handlers.length}</td>
              <td class="narrow-hide sec">{Object.entries(worker.process.labels).map(([key, value]) => `${key}=${value}`).join(" ") || "–"}</td>
              <td class="num narrow-hide sec"><Time at={worker.started_at}>{ago(worker.started_at)}</Time></td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

function QueueTable(props: { queues: QueueView[]; act: (action: Action) => void }) {
  const busy = (queue: QueueView) => queue.due + queue.running + queue.scheduled + queue.paused
  const sorted = [...props.queues].sort((a, b) => b.due - a.due || busy(b) - busy(a) || a.handler.localeCompare(b.handler))
  return (
    <div class="tb flat">
      <table>
        <thead><tr><th>Handler</th><th class="narrow-hide">Namespace</th><th class="num">Due</th><th class="num">Running</th><th class="num">Scheduled</th><th class="num narrow-hide">Paused</th><th class="num narrow-hide">Weight</th><th><span class="vh">Actions</span></th></tr></thead>
        <tbody>
          {sorted.slice(0, 200).map((queue) => {
            const pause = queue.pauses.find((one) => one.kind === "queue")
            return (
            <tr class="row" key={`${queue.namespace} ${queue.handler}`}>
              <td><span class="strong" title={queue.handler}>{queue.handler.split(".").at(-1)}</span>{queue.pauses.length > 0 && <span class="c-park"> paused by {queue.pauses[0]!.paused_by}</span>}</td>
              <td class="narrow-hide sec">{queue.namespace}</td>
              <td class="num">{queue.due.toLocaleString("en")}</td>
              <td class="num">{queue.running.toLocaleString("en")}</td>
              <td class="num">{queue.scheduled.toLocaleString("en")}</td>
              <td class="num narrow-hide">{queue.paused.toLocaleString("en")}</td>
              <td class="num narrow-hide sec">{queue.weight}</td>
              <td class="num"><Button small disabledBecause={refusal("queues:pause", queue.namespace)} label={`${pause ? "Resume" : "Pause"} the queue of ${queue.handler} in ${queue.namespace}`} onClick={() => props.act(pauseTargetAction({ kind: "queue", namespace: queue.namespace, name: queue.handler }, pause))}>{pause ? "Resume…" : "Pause…"}</Button></td>
            </tr>
            )
          })}
        </tbody>
      </table>
      {sorted.length > 200 && <p class="more">The 200 busiest of {sorted.length.toLocaleString("en")} queues are shown.</p>}
    </div>
  )
}
