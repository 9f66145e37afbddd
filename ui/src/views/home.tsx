// Is everything well, and what needs me?
import { useState } from "preact/hooks"
import { get, may, queryOf } from "../api/client.ts"
import type { Bottlenecks, Chart, Performance, SystemStatus, WorkerList } from "../api/types.ts"
import { ActionDialog, type Action } from "../parts/action.tsx"
import { Empty, Failed, Loading, plural, Stale, Time } from "../parts/bits.tsx"
import { Glyph, Icon } from "../parts/icons.tsx"
import { EndedChart } from "../parts/sparks.tsx"
import { Top, within } from "../parts/shell.tsx"
import { href, route } from "../router.ts"
import { useResource } from "../state/resource.ts"
import { namespaceOf } from "../state/shell.ts"
import { ago, duration } from "../state/time.ts"
import { STEP_LOOKS } from "../status.ts"
import { CauseList, Spans, useFailures } from "./failures.tsx"

const EVERY = 5_000

interface Figures {
  performance: Performance
  bottlenecks: Bottlenecks
  workers: WorkerList | null
}

export function Home() {
  const hours = Number(route.value.query.get("hours")) || 24
  const namespace = namespaceOf()
  const figures = useResource<Figures>(
    `home ${hours} ${namespace}`,
    async (signal) => {
      const query = queryOf({ hours, namespace })
      const [performance, bottlenecks, workers] = await Promise.all([
        get<Performance>(`/v1/analytics/performance${query}`, signal),
        get<Bottlenecks>(`/v1/analytics/bottlenecks${query}`, signal),
        may("workers:read") ? get<WorkerList>("/v1/workers", signal) : Promise.resolve(null),
      ])
      return { performance, bottlenecks, workers }
    },
    EVERY,
  )
  const causes = useFailures(hours)
  const [action, setAction] = useState<Action | null>(null)
  const data = figures.data
  return (
    <>
      <Top crumbs={[["Home", null]]} />
      <div class="page">
        {!data && figures.problem ? (
          <Failed problem={figures.problem} what="the figures" reload={figures.reload} />
        ) : !data ? (
          <Loading what="the figures" />
        ) : data.performance.total_tasks === 0 ? (
          <Empty icon="tasks" title="No tasks yet" command="tasker demo" actions={<a class="btn" href={href("/workflows")}>Workflows</a>}>
            In the last {hours} hours nobody submitted a task. Try the example, or submit one from the page of a workflow.
          </Empty>
        ) : (
          <>
            <Stale problem={figures.problem} reload={figures.reload} />
            <Verdict data={data} stopped={(causes.data ?? []).reduce((sum, one) => sum + one.tasks, 0)} />
            <Keys data={data} />
            <Ended hours={hours} namespace={namespace} />
            {causes.data && causes.data.length > 0 && (
              <section class="panel flat">
                <header><h2>Failures</h2><span class="muted">by cause, last {hours} h</span><span class="sp" /><a class="btn sm ghost" href={href(within("/failures"))}>All failures <Icon name="right" /></a></header>
                <CauseList causes={causes.data.slice(0, 5)} act={setAction} />
              </section>
            )}
            <Workflows data={data} hours={hours} />
            <Store />
          </>
        )}
      </div>
      {action && <ActionDialog action={action} onClose={() => setAction(null)} onDone={() => { setAction(null); causes.reload() }} />}
    </>
  )
}

/** Tasks that ended over time, from what workers wrote. */
function Ended(props: { hours: number; namespace: string | null }) {
  const { hours, namespace } = props
  const chart = useResource(`ended ${hours} ${namespace}`, (signal) => get<Chart>(`/v1/analytics/series${queryOf({ metric: "ended", by: "status", hours, namespace })}`, signal), 15_000)
  if (!chart.data || chart.data.series.length === 0) return null
  return (
    <section class="panel flat">
      <header><h2>Tasks that ended</h2><span class="muted">complete, failed and cancelled, as of <Time at={chart.data.as_of} /></span></header>
      <EndedChart chart={chart.data} height={44} />
    </section>
  )
}

/** Facts about the store, and what keeps it from removing old rows. */
function Store() {
  const system = useResource("system", (signal) => get<SystemStatus>("/v1/system", signal), 30_000)
  if (!system.data) return null
  const { store, schema_version, oldest_snapshot: oldest } = system.data
  const age = oldest?.age_seconds ?? 0
  return (
    <p class="muted store">
      Store: {store}, schema {schema_version}
      {oldest && <span class={age > 600 ? "c-retry" : ""}>, oldest transaction open for {duration(age)} by {oldest.name || oldest.kind}</span>}
    </p>
  )
}

function Verdict(props: { data: Figures; stopped: number }) {
  const { bottlenecks, workers } = props.data
  const alive = workers?.workers.filter((worker) => worker.alive).length ?? null
  const stuck = bottlenecks.utilization.steps_without_worker
  const well = stuck === 0 && alive !== 0
  const look = STEP_LOOKS[well ? (props.stopped ? "error" : "complete") : "waiting_for_retry"]!
  const sentence = well ? "Work gets done" : alive === 0 ? "No worker is alive" : `${plural(stuck, "step")} ${stuck === 1 ? "has" : "have"} no worker`
  return (
    <div class="ph verdict">
      <div>
        <h1><Glyph look={look} />{sentence}. {props.stopped ? `${plural(props.stopped, "task")} ${props.stopped === 1 ? "is" : "are"} stopped and ${props.stopped === 1 ? "needs" : "need"} you.` : "Nothing needs you."}</h1>
        <p>
          {bottlenecks.utilization.due_steps ? `${plural(bottlenecks.utilization.due_steps, "step")} ready` : "No step waits for a worker"}, {plural(bottlenecks.utilization.running_steps, "step")} running
          {bottlenecks.utilization.scheduled_steps > 0 && `, ${plural(bottlenecks.utilization.scheduled_steps, "step")} due later`}.
        </p>
      </div>
    </div>
  )
}

function Keys(props: { data: Figures }) {
  const { performance, bottlenecks, workers } = props.data
  const alive = workers?.workers.filter((worker) => worker.alive) ?? []
  const slots = alive.reduce((sum, worker) => sum + worker.slots, 0)
  const running = alive.reduce((sum, worker) => sum + worker.running, 0)
  return (
    <section class="kpis" aria-label="Key figures">
      <div class="kpi"><h2>Tasks</h2><p class="v"><b>{performance.total_tasks.toLocaleString("en")}</b><span>created</span></p><p>{performance.completed_tasks.toLocaleString("en")} complete, {performance.active_tasks.toLocaleString("en")} open</p></div>
      <div class="kpi"><h2>Failed tasks</h2><p class="v"><b>{performance.error_rate.toFixed(1)}</b><span>%</span></p><p>{plural(performance.failed_tasks, "task")}</p></div>
      <div class="kpi"><h2>Duration, median</h2><p class="v"><b>{duration(performance.task_duration.p50).split(" ")[0]}</b><span>{duration(performance.task_duration.p50).split(" ").slice(1).join(" ")}</span></p><p>{duration(performance.task_duration.p95)} for 95 %</p></div>
      {workers ? (
        <div class="kpi"><h2>Slots in use</h2><p class="v"><b>{running.toLocaleString("en")}</b><span>of {slots.toLocaleString("en")}</span></p><p>{plural(alive.length, "worker")} alive</p></div>
      ) : (
        <div class="kpi"><h2>Running steps</h2><p class="v"><b>{bottlenecks.utilization.running_steps}</b></p></div>
      )}
    </section>
  )
}

function Workflows(props: { data: Figures; hours: number }) {
  const rows = props.data.bottlenecks.slow_tasks
  return (
    <section class="panel flat">
      <header><h2>Workflows</h2><span class="muted ell">that took longest, of tasks that ended</span><span class="sp" /><Spans hours={props.hours} /></header>
      {rows.length === 0 ? <p class="more">No task has ended in this time.</p> : (
        <div class="scroll-x">
          <table>
            <thead><tr><th>Workflow</th><th class="num">Tasks</th><th class="num">Average</th><th class="num narrow-hide">Longest</th><th class="num">Failed</th><th class="num narrow-hide">Last</th></tr></thead>
            <tbody>
              {rows.map((row) => (
                <tr class="row" key={`${row.namespace}.${row.name}@${row.version}`}>
                  <td><a class="wf" href={href(`/workflows/${row.namespace}/${row.name}?version=${encodeURIComponent(row.version)}`)}><b>{row.namespace}.{row.name}</b><span class="muted">{row.version}</span></a></td>
                  <td class="num">{row.execution_count.toLocaleString("en")}</td>
                  <td class="num">{duration(row.average_duration_seconds)}</td>
                  <td class="num narrow-hide sec">{duration(row.max_duration_seconds)}</td>
                  <td class={`num ${row.error_count ? "c-err" : ""}`}>{row.error_count.toLocaleString("en")}</td>
                  <td class="num narrow-hide sec"><Time at={row.last_executed_at}>{ago(row.last_executed_at)}</Time></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  )
}
