// Is everything well, and what needs me?
import { useState } from "preact/hooks"
import { get, may, queryOf } from "../api/client.ts"
import type { Bottlenecks, Chart, Performance, SystemStatus, WorkerList } from "../api/types.ts"
import { ActionDialog, type Action } from "../parts/action.tsx"
import { Empty, Failed, Loading, plural, Stale, Time } from "../parts/bits.tsx"
import { Glyph, Icon } from "../parts/icons.tsx"
import { EndedChart, Spark, Strip } from "../parts/sparks.tsx"
import { within } from "../parts/entries.ts"
import { Top } from "../parts/shell.tsx"
import { href, route } from "../router.ts"
import { useResource, type Resource } from "../state/resource.ts"
import { namespaceOf, waiting } from "../state/shell.ts"
import { ago, clock, duration } from "../state/time.ts"
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
  const ended = useResource(`ended ${hours} ${namespace}`, (signal) => get<Chart>(`/v1/analytics/series${queryOf({ metric: "ended", by: "status", hours, namespace })}`, signal), 15_000)
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
            No tasks were submitted in the last {hours === 1 ? "hour" : `${hours} hours`}. Try the example, or submit a task from a workflow's page.
          </Empty>
        ) : (
          <>
            <Stale problem={figures.problem} reload={figures.reload} />
            <Verdict data={data} stopped={(causes.data ?? []).reduce((sum, one) => sum + one.tasks, 0)} />
            <Keys data={data} chart={ended.data} />
            <Ended chart={ended} />
            <div class="needs">
              {causes.data && causes.data.length > 0 && (
                <section class="panel flat grow">
                  <header><h2>Failures</h2><span class="muted ell">by cause, last {hours} h</span><span class="sp" /><a class="btn sm ghost" href={href(within("/failures"))}>All failures <Icon name="right" /></a></header>
                  <CauseList causes={causes.data.slice(0, 5)} act={setAction} />
                </section>
              )}
              <Waiting />
            </div>
            <Workflows data={data} hours={hours} namespace={namespace} />
            <Store />
          </>
        )}
      </div>
      {action && <ActionDialog action={action} onClose={() => setAction(null)} onDone={() => { setAction(null); causes.reload() }} />}
    </>
  )
}

/** Tasks that ended over time, from what workers wrote. */
function Ended(props: { chart: Resource<Chart> }) {
  const { data } = props.chart
  if (!data || data.series.length === 0) return null
  return (
    <section class="panel flat">
      <header><h2>Tasks that ended</h2><span class="muted">complete, failed and cancelled, as of <Time at={data.as_of} /></span></header>
      <EndedChart chart={data} height={44} />
    </section>
  )
}

/** The approvals that have waited longest for the viewer. */
function Waiting() {
  const namespace = namespaceOf()
  const mine = waiting.value.filter((one) => namespace === null || one.namespace === namespace)
  if (mine.length === 0) return null
  return (
    <section class="panel flat waiting">
      <header><h2>Waiting for you</h2><span class="muted ell">{plural(mine.length, "decision")}</span><span class="sp" /><a class="btn sm ghost" href={href(within("/approvals"))}>All approvals <Icon name="right" /></a></header>
      <ul class="rows">
        {mine.slice(0, 5).map((one) => (
          <li key={one.id}>
            <Icon name="approve" />
            <div class="grow">
              <a class="wf" href={href(`/tasks/${one.task_id}?step=${encodeURIComponent(one.step)}`)}><b class="ell">{one.title || one.step}</b></a>
              <p class="muted ell">{one.step} of {one.template}</p>
            </div>
            <Time at={one.opened_at}>{ago(one.opened_at)}</Time>
            <a class="btn sm" href={href(within("/approvals"))} aria-label={`Decide ${one.title || one.step}`}>Decide…</a>
          </li>
        ))}
      </ul>
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
      {oldest && <span class={age > 600 ? "c-retry" : ""}>, oldest transaction: {oldest.name || oldest.kind}, open for {duration(age)}</span>}
    </p>
  )
}

function Verdict(props: { data: Figures; stopped: number }) {
  const { bottlenecks, workers } = props.data
  const alive = workers?.workers.filter((worker) => worker.alive).length ?? null
  const stuck = bottlenecks.utilization.steps_without_worker
  const well = stuck === 0 && alive !== 0
  const look = STEP_LOOKS[well ? "complete" : "waiting_for_retry"]!
  const sentence = well ? "Workers are running" : alive === 0 ? "No worker is running" : `${plural(stuck, "step")} ${stuck === 1 ? "has" : "have"} no worker`
  return (
    <div class="ph verdict">
      <div>
        <h1><Glyph look={look} />{sentence}. {props.stopped ? `${plural(props.stopped, "task")} ${props.stopped === 1 ? "has failed and needs" : "have failed and need"} your attention.` : "Nothing needs your attention."}</h1>
        <p>
          {bottlenecks.utilization.due_steps ? `${plural(bottlenecks.utilization.due_steps, "step")} waiting for a worker` : "No steps waiting for a worker"}, {plural(bottlenecks.utilization.running_steps, "step")} running
          {bottlenecks.utilization.scheduled_steps > 0 && `, ${plural(bottlenecks.utilization.scheduled_steps, "step")} scheduled`}.
        </p>
      </div>
    </div>
  )
}

function Keys(props: { data: Figures; chart: Chart | null }) {
  const { performance, bottlenecks, workers } = props.data
  const series = props.chart?.series ?? []
  const failed = series.find((one) => one.key === "error")?.values ?? []
  const all = Array.from({ length: props.chart?.points ?? 0 }, (_, at) => series.reduce((sum, one) => sum + one.values[at]!, 0))
  const alive = workers?.workers.filter((worker) => worker.alive) ?? []
  const slots = alive.reduce((sum, worker) => sum + worker.slots, 0)
  const running = alive.reduce((sum, worker) => sum + worker.running, 0)
  return (
    <section class="kpis" aria-label="Key figures">
      <div class="kpi"><Spark values={all} /><h2>Tasks</h2><p class="v"><b>{performance.total_tasks.toLocaleString("en")}</b><span>created</span></p><p>{performance.completed_tasks.toLocaleString("en")} complete, {performance.active_tasks.toLocaleString("en")} open</p></div>
      <div class="kpi"><Spark bad values={all.map((total, at) => (total ? (failed[at] ?? 0) / total : 0))} /><h2>Failed tasks</h2><p class="v"><b>{performance.error_rate.toFixed(1)}</b><span>%</span></p><p>{plural(performance.failed_tasks, "task")}</p></div>
      <div class="kpi"><h2>Median duration</h2><p class="v"><b>{duration(performance.task_duration.p50).split(" ")[0]}</b><span>{duration(performance.task_duration.p50).split(" ").slice(1).join(" ")}</span></p><p>95 % within {duration(performance.task_duration.p95)}</p></div>
      {workers ? (
        <div class="kpi"><h2>Slots in use</h2><p class="v"><b>{running.toLocaleString("en")}</b><span>of {slots.toLocaleString("en")}</span></p><p>{plural(alive.length, "worker")} alive</p></div>
      ) : (
        <div class="kpi"><h2>Running steps</h2><p class="v"><b>{bottlenecks.utilization.running_steps}</b></p></div>
      )}
    </section>
  )
}

function Workflows(props: { data: Figures; hours: number; namespace: string | null }) {
  const { hours, namespace } = props
  const rows = props.data.bottlenecks.slow_tasks
  const busy = useResource(
    `busy ${hours} ${namespace}`,
    (signal) => Promise.all(["ended", "failed"].map((metric) => get<Chart>(`/v1/analytics/series${queryOf({ metric, by: "workflow", hours, namespace })}`, signal))),
    60_000,
  )
  const [ended, failed] = (busy.data ?? []).map((chart) => new Map(chart.series.map((one) => [one.key, one.values])))
  return (
    <section class="panel flat">
      <header><h2>Workflows</h2><span class="muted ell">slowest first, ended tasks only; darker: busier, crossed: with failures</span><span class="sp" /><Spans hours={hours} /></header>
      {rows.length === 0 ? <p class="more">No tasks ended in this period.</p> : (
        <div class="scroll-x">
          <table>
            <thead><tr><th>Workflow</th><th class="num">Tasks</th><th class="num">Average</th><th class="num narrow-hide">Longest</th><th class="num">Failed</th><th class="wide w-strip">{busy.data?.[0] && <>{clock(busy.data[0].start)} to now</>}</th><th class="num narrow-hide">Last</th></tr></thead>
            <tbody>
              {rows.map((row, no) => {
                const workflow = `${row.namespace}.${row.name}`
                const first = rows.findIndex((one) => one.namespace === row.namespace && one.name === row.name) === no
                const values = ended?.get(workflow)
                return (
                  <tr class="row" key={`${workflow}@${row.version}`}>
                    <td><a class="wf" href={href(`/workflows/${row.namespace}/${row.name}?version=${encodeURIComponent(row.version)}`)}><b>{workflow}</b><span class="muted">{row.version}</span></a></td>
                    <td class="num">{row.execution_count.toLocaleString("en")}</td>
                    <td class="num">{duration(row.average_duration_seconds)}</td>
                    <td class="num narrow-hide sec">{duration(row.max_duration_seconds)}</td>
                    <td class={`num ${row.error_count ? "c-err" : ""}`}>{row.error_count.toLocaleString("en")}</td>
                    <td class="wide">{first && values && <Strip ended={values} failed={failed?.get(workflow) ?? []} label={`${workflow} over time, all versions`} />}</td>
                    <td class="num narrow-hide sec"><Time at={row.last_executed_at}>{ago(row.last_executed_at)}</Time></td>
                  </tr>
                )
              })}
            </tbody>
          </table>
        </div>
      )}
    </section>
  )
}
