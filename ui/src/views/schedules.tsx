// Schedules: when they create tasks, what became of their ticks, and what can be done to them.
import { useState } from "preact/hooks"
import { call, get, may, now, post, queryOf } from "../api/client.ts"
import type { BackfillResult, SchedulePreview, ScheduleList, ScheduleView, TicksWithoutTaskList, TriggerResponse } from "../api/types.ts"
import { ActionDialog, withReason, type Action } from "../parts/action.tsx"
import { Button, Empty, Failed, Loading, plural, shortId, Stale, Time } from "../parts/bits.tsx"
import { Json } from "../parts/json.tsx"
import { Top } from "../parts/shell.tsx"
import { href, navigate } from "../router.ts"
import { refusal } from "../state/actions.ts"
import { fieldOf } from "../state/forms.ts"
import { useResource } from "../state/resource.ts"
import { namespaceOf } from "../state/shell.ts"
import { ago, clock, countdown, tick, zone } from "../state/time.ts"

const EVERY = 5_000
const SHOWN = 100 // schedules of the list
const TICKS = 12 // next ticks of one

const pathOf = (schedule: ScheduleView) => `/v1/schedules/${schedule.namespace}/${schedule.name}`
const nameOf = (schedule: ScheduleView) => `${schedule.namespace}.${schedule.name}`

function When(props: { schedule: ScheduleView }) {
  const { schedule } = props
  return schedule.cron ? <><span class="mono">{schedule.cron}</span> <span class="muted">{schedule.timezone}</span></> : <>every {schedule.every}</>
}

function Until(props: { at: string }) {
  tick.value
  const left = Date.parse(props.at) - now()
  return <Time at={props.at}>{left <= 0 ? "now" : left < 86_400_000 ? `in ${countdown(left)}` : clock(props.at)}</Time>
}

export function Schedules() {
  const namespace = namespaceOf()
  const list = useResource(`schedules ${namespace}`, (signal) => get<ScheduleList>(`/v1/schedules${queryOf({ namespace, limit: SHOWN })}`, signal), EVERY)
  const [action, setAction] = useState<Action | null>(null)
  const schedules = list.data ? [...list.data.schedules].sort((a, b) => Number(a.paused) - Number(b.paused) || a.next_at.localeCompare(b.next_at)) : []
  return (
    <>
      <Top crumbs={[["Schedules", null]]} />
      <div class="page">
        <div class="ph"><h1>Schedules</h1><span class="muted">create tasks at certain times; sorted by next tick</span></div>
        {list.data && <Stale problem={list.problem} reload={list.reload} />}
        {!list.data && list.problem ? (
          <Failed problem={list.problem} what="schedules" reload={list.reload} />
        ) : !list.data ? (
          <Loading what="schedules" />
        ) : schedules.length === 0 ? (
          <Empty icon="cal" title="No schedules" command={'schedules:\n  - {name: nightly, cron: "30 2 * * *", timezone: Europe/Berlin}'}>
            A schedule creates a task at each of its ticks. Declare it in a template, or create one with <b>tasker schedule create</b>.
          </Empty>
        ) : (
          <div class="tb flat">
            <table>
              <thead><tr><th>Schedule</th><th>When</th><th>Next</th><th class="narrow-hide">Last task</th><th class="wide">Overlap</th><th><span class="vh">Actions</span></th></tr></thead>
              <tbody>
                {schedules.map((one) => (
                  <tr class="row" key={one.id}>
                    <td><a class="wf" href={href(`/schedules/${one.namespace}/${one.name}`)}><b>{one.name}</b><span class="muted">{one.namespace}</span></a></td>
                    <td><When schedule={one} /></td>
                    <td>{one.paused ? <span class="c-park">paused</span> : <Until at={one.next_at} />}</td>
                    <td class="narrow-hide">{one.last_task ? <a class="link" href={href(`/tasks/${one.last_task}`)}>{one.last_at && ago(one.last_at)}</a> : <span class="muted">none yet</span>}</td>
                    <td class="wide sec">{one.overlap.replaceAll("_", " ")}</td>
                    <td class="num"><Button small disabledBecause={refusal("schedules:pause", one.namespace)} label={`${one.paused ? "Resume" : "Pause"} ${nameOf(one)}`} onClick={() => setAction(pauseAction(one))}>{one.paused ? "Resume…" : "Pause…"}</Button></td>
                  </tr>
                ))}
              </tbody>
            </table>
            {list.data.next_cursor !== null && <p class="more">The first {SHOWN} schedules are shown. Choose a namespace to see the others.</p>}
          </div>
        )}
      </div>
      {action && <ActionDialog action={action} onClose={() => setAction(null)} onDone={() => { setAction(null); list.reload() }} />}
    </>
  )
}

function pauseAction(schedule: ScheduleView): Action {
  const verb = schedule.paused ? "resume" : "pause"
  return {
    title: `${schedule.paused ? "Resume" : "Pause"} ${nameOf(schedule)}`,
    effects: schedule.paused ? ["It creates tasks again, starting with its next tick.", "Ticks that passed while it was paused get no tasks."] : ["Its ticks create no tasks until someone resumes it.", "Existing tasks continue."],
    button: `${schedule.paused ? "Resume" : "Pause"} 1 schedule`,
    command: (reason) => withReason(`tasker schedule ${verb} ${nameOf(schedule)}`, reason),
    run: ({ reason }) => post(`${pathOf(schedule)}/${verb}`, { reason }),
  }
}

const OVERLAPS = ["skip", "buffer_one", "buffer_all", "cancel_running", "allow"]
const PREVIEWED = 10 // ticks shown before a change is saved

/** What a changed form sets; an empty field for times clears them. */
function timesOf(entered: Record<string, unknown>) {
  return { cron: entered["cron"] ?? "", every: entered["every"] ?? null, timezone: entered["timezone"], overlap: entered["overlap"], catch_up: entered["catch_up"], jitter: entered["jitter"] ?? 0 }
}

/** Changes when a schedule creates tasks: the next ticks are shown first, and what someone else changed since. */
function changeAction(schedule: ScheduleView): Action {
  return {
    title: `Change ${nameOf(schedule)}`,
    fields: [
      fieldOf("cron", "Cron expression", { initial: schedule.cron ?? "", help: "minute, hour, day of month, month, day of week; leave empty if you enter an interval" }),
      fieldOf("every", "Interval", { initial: schedule.every ?? "", help: "for example 15m or 6h; use instead of a cron expression" }),
      fieldOf("timezone", "Time zone", { initial: schedule.timezone, required: true, help: "for example Europe/Berlin" }),
      fieldOf("overlap", "Overlap", { help: "what a tick does while the previous task is open", kind: "choice", choices: OVERLAPS, initial: schedule.overlap, required: true }),
      fieldOf("catch_up", "Catch-up", { initial: schedule.catch_up, required: true, help: "maximum age of a missed tick that still gets a task, for example 6h" }),
      fieldOf("jitter", "Jitter", { initial: schedule.jitter, help: "maximum delay by which a task's start is spread, for example 30s" }),
    ],
    effects: ["Existing tasks do not change."],
    preview: async (entered) => {
      const { cron, every, timezone } = timesOf(entered)
      const [current, { ticks }] = await Promise.all([
        get<ScheduleView>(pathOf(schedule)),
        post<SchedulePreview>("/v1/schedules/preview", { cron, every, timezone, anchor: schedule.anchor, count: PREVIEWED }),
      ])
      const meanwhile = current.etag === schedule.etag ? [] : [`Someone else has changed it in the meantime: ${current.cron ?? `every ${current.every}`}, ${current.timezone}, overlap ${current.overlap}, catch-up ${current.catch_up}, jitter ${current.jitter}. Saving overwrites this.`]
      return { effects: [...meanwhile, `Next ticks, in ${String(timezone)}: ${ticks.map((at) => dayInZone(at, String(timezone))).join(", ")}.`], etag: current.etag }
    },
    button: "Save 1 schedule",
    command: null,
    run: ({ entered, reason, etag }) => call("PATCH", pathOf(schedule), { body: { ...timesOf(entered), reason }, ifMatch: etag }),
  }
}

function triggerAction(schedule: ScheduleView): Action {
  return {
    title: `Trigger ${nameOf(schedule)}`,
    effects: [`A task of ${schedule.namespace}.${schedule.template} is created now.`, "The schedule's ticks do not change."],
    button: "Create 1 task",
    takesReason: false,
    command: () => `tasker schedule trigger ${nameOf(schedule)}`,
    run: async () => {
      const { task_id } = await post<TriggerResponse>(`${pathOf(schedule)}/trigger`)
      navigate(`/tasks/${task_id}`)
    },
  }
}

function backfillAction(schedule: ScheduleView): Action {
  const body = (entered: Record<string, unknown>) => ({ start: entered["start"], end: entered["end"] })
  return {
    title: `Backfill ${nameOf(schedule)}`,
    fields: [
      fieldOf("start", "From", { kind: "time", required: true, help: `inclusive, ${zone.value === "utc" ? "UTC" : "local time"}` }),
      fieldOf("end", "To", { kind: "time", required: true, help: "exclusive; not in the future" }),
    ],
    effects: ["Each tick in the period gets a task with priority 0, unless an earlier backfill created one."],
    preview: async (entered) => {
      if (!entered["start"] || !entered["end"]) return { effects: [] }
      const { ticks } = await post<BackfillResult>(`${pathOf(schedule)}/backfill`, { ...body(entered), dry_run: true })
      const few = ticks.slice(0, 3).map(clock).join(", ")
      return { effects: [`${plural(ticks.length, "tick")}: ${few}${ticks.length > 3 ? `, … ${clock(ticks.at(-1)!)}` : ""}.`] }
    },
    button: "Create tasks",
    takesReason: false,
    command: (_, __, ___, entered) => `tasker schedule backfill ${nameOf(schedule)} --from ${entered["start"] ?? "…"} --to ${entered["end"] ?? "…"}`,
    run: ({ entered }) => post(`${pathOf(schedule)}/backfill`, body(entered)),
  }
}

interface Loaded {
  schedule: ScheduleView
  next: string[]
  ticks: TicksWithoutTaskList
}

export function SchedulePage(props: { namespace: string; name: string }) {
  const { namespace, name } = props
  const loaded = useResource<Loaded>(`schedule ${namespace}.${name}`, async (signal) => {
    const path = `/v1/schedules/${namespace}/${encodeURIComponent(name)}`
    const [schedule, ticks] = await Promise.all([get<ScheduleView>(path, signal), get<TicksWithoutTaskList>(`${path}/ticks?limit=50`, signal)])
    const { cron, every, anchor, timezone } = schedule
    const { ticks: next } = await post<SchedulePreview>("/v1/schedules/preview", { cron: cron ?? "", every, anchor, timezone, count: TICKS })
    return { schedule, ticks, next }
  }, 15_000)
  const [action, setAction] = useState<Action | null>(null)
  const schedule = loaded.data?.schedule
  const creates = may("tasks:create", namespace) ? refusal("schedules:backfill", namespace) : refusal("tasks:create", namespace)
  return (
    <>
      <Top crumbs={[["Schedules", "/schedules"], [name, null]]} />
      <div class="page">
        {!schedule ? (
          loaded.problem ? <Failed problem={loaded.problem} what="this schedule" reload={loaded.reload} /> : <Loading what="the schedule" />
        ) : (
          <>
            <div class="ph">
              <h1>{name}</h1>
              {schedule.paused && <span class="pill s-park">Paused</span>}
              <div class="act">
                <a class="btn" href={href(`/tasks?namespace=${namespace}&name=${schedule.template}&created_by=${encodeURIComponent(`schedule:${nameOf(schedule)}`)}`)}>Tasks</a>
                <Button icon="note" disabledBecause={schedule.declared_by ? `declared by ${schedule.declared_by}: change the template and register a new version` : may("tasks:create", namespace) ? refusal("schedules:update", namespace) : refusal("tasks:create", namespace)} onClick={() => setAction(changeAction(schedule))}>Change…</Button>
                <Button icon="cal" disabledBecause={creates} onClick={() => setAction(backfillAction(schedule))}>Backfill…</Button>
                <Button icon="pause" disabledBecause={refusal("schedules:pause", namespace)} onClick={() => setAction(pauseAction(schedule))}>{schedule.paused ? "Resume…" : "Pause…"}</Button>
                <Button kind="pri" icon="plus" disabledBecause={creates} onClick={() => setAction(triggerAction(schedule))}>Trigger now…</Button>
              </div>
            </div>
            <Stale problem={loaded.problem} reload={loaded.reload} />
            <div class="two-cols">
              <section class="panel flat">
                <header><h2>Next ticks</h2><span class="sp muted">{schedule.timezone}</span></header>
                {schedule.paused ? <p class="more">None until it is resumed.</p> : (
                  <ul class="rows">{loaded.data!.next.map((at) => <li key={at}><Time at={at}>{clock(at)}</Time><span class="sp muted">{inZone(at, schedule.timezone)}</span></li>)}</ul>
                )}
              </section>
              <section class="panel flat">
                <header><h2>Schedule</h2></header>
                <dl class="pad">
                  <dt>When</dt><dd><When schedule={schedule} /></dd>
                  <dt>Workflow</dt><dd><a href={href(`/workflows/${namespace}/${schedule.template}`)}>{namespace}.{schedule.template}</a> {schedule.version || "latest"}</dd>
                  <dt>Overlap</dt><dd>{schedule.overlap.replaceAll("_", " ")}{schedule.buffered > 0 && `, ${plural(schedule.buffered, "tick")} buffered`}</dd>
                  <dt>Catch-up</dt><dd>{schedule.catch_up}</dd>
                  <dt>Jitter</dt><dd>{schedule.jitter}</dd>
                  <dt>Last task</dt><dd>{schedule.last_task ? <a class="mono" href={href(`/tasks/${schedule.last_task}`)}>{shortId(schedule.last_task)}</a> : "none yet"}</dd>
                  <dt>Declared by</dt><dd>{schedule.declared_by ?? `${schedule.created_by}, through the API`}</dd>
                </dl>
              </section>
            </div>
            <section class="panel flat">
              <header><h2>Ticks without a task</h2></header>
              {loaded.data!.ticks.ticks.length === 0 ? <p class="more">Every tick has created a task.</p> : (
                <div class="scroll-x">
                  <table>
                    <thead><tr><th>Tick</th><th>Outcome</th><th>Details</th></tr></thead>
                    <tbody>{loaded.data!.ticks.ticks.map((one) => (
                      <tr class="row" key={`${one.first} ${one.outcome}`}><td><Time at={one.first} />{one.last !== one.first && <> to <Time at={one.last} /></>}</td><td>{one.outcome}</td><td class="sec">{one.detail}</td></tr>
                    ))}</tbody>
                  </table>
                </div>
              )}
            </section>
            <section><h2 class="small">Task context</h2><Json value={schedule.context} label="Task context" /></section>
          </>
        )}
      </div>
      {action && <ActionDialog action={action} onClose={() => setAction(null)} onDone={() => { setAction(null); loaded.reload() }} />}
    </>
  )
}

function dayInZone(at: string, timezone: string): string {
  const time = Date.parse(at) % 60_000 ? { second: "2-digit" as const } : {}
  return new Intl.DateTimeFormat("en-GB", { timeZone: timezone, weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", ...time }).format(new Date(at)).replace(/^(\w+),/, "$1")
}

function inZone(at: string, timezone: string): string {
  return new Intl.DateTimeFormat("en-GB", { timeZone: timezone, weekday: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(new Date(at))
}
