// The page of one task: what happens, why, and what can be done about it.
import { useEffect, useMemo, useRef, useState } from "preact/hooks"
import { get, getChanged, now, session, type Known } from "../api/client.ts"
import type { Reason, SnapshotView, TaskSummaryView } from "../api/types.ts"
import { GraphView } from "../draw/graph.tsx"
import { TimelineLegend, TimelineView } from "../draw/timeline.tsx"
import { ActionDialog, type Action } from "../parts/action.tsx"
import { Button, Copy, doneOf, Failed, Loading, Pill, plural, Progress, shortId, Stale, Time, totalOf } from "../parts/bits.tsx"
import { Glyph, Icon } from "../parts/icons.tsx"
import { Top } from "../parts/shell.tsx"
import { StepTable } from "../parts/step_table.tsx"
import { href, navigate, route, setQuery } from "../router.ts"
import { cancelAction, isOpen, pauseAction, refusal, resolveTaskAction, retryTaskAction } from "../state/actions.ts"
import { reconnecting, useTaskStream } from "../state/follow.ts"
import { useKeys } from "../state/keys.ts"
import { criticalPath, pictureAt, pictureOf, type Picture } from "../state/picture.ts"
import { useResource } from "../state/resource.ts"
import { ago, clock, countdown, duration, tick } from "../state/time.ts"
import { usually, useUsual } from "../state/usual.ts"
import { taskLook, type Look } from "../status.ts"
import { Drawer } from "./drawer.tsx"
import { TaskMenu } from "./task_menu.tsx"

const VIEWS = ["both", "graph", "timeline", "table"] as const
type ViewName = (typeof VIEWS)[number]
const MANY = 300 // nodes above which the timeline alone is shown at first
const EVERY = 2_000
const EVERY_FOLLOWED = 5_000 // beside the stream, which reports changes of the task but not of its children
const EVERY_ENDED = 10_000

export function TaskPage(props: { id: string }) {
  const { id } = props
  const { query } = route.value
  const opened = query.getAll("open")
  const [open, setOpen] = useState(true)
  const key = `snapshot ${id} ${opened.join()}`
  const known = useRef<(Known<SnapshotView> & { path: string; viewer: string | null }) | null>(null)
  const load = async (signal: AbortSignal): Promise<SnapshotView> => {
    const path = `/v1/tasks/${id}/snapshot${opened.length ? `?${new URLSearchParams(opened.map((one) => ["open", one]))}` : ""}`
    const viewer = session.peek()?.name ?? null
    const before = known.current?.path === path && known.current.viewer === viewer ? known.current : null
    const changed = await getChanged(path, before, signal)
    if (changed) {
      known.current = { ...changed, path, viewer }
      return changed.data
    }
    const { data } = before!
    return data.task.ended_at ? data : { ...data, now: Math.round(now() - Date.parse(data.task.created_at)) }
  }
  const resource = useResource(
    key,
    load,
    !open ? EVERY_ENDED : reconnecting.value ? EVERY : EVERY_FOLLOWED,
  )
  const snapshot = resource.data
  const picture = useMemo(() => (snapshot ? pictureOf(snapshot) : null), [snapshot])
  useEffect(() => {
    if (snapshot) setOpen(isOpen(snapshot.task))
  }, [snapshot])
  useTaskStream(id, snapshot !== null && isOpen(snapshot.task), resource.follow)
  const [action, setAction] = useState<Action | null>(null)

  if (!picture) {
    return (
      <>
        <Top crumbs={[["Tasks", "/tasks"], [shortId(id), null]]} />
        <div class="page">
          {resource.problem ? <Failed problem={resource.problem} what="this task" reload={resource.reload} /> : <Loading what="the task" />}
        </div>
      </>
    )
  }
  const { task } = picture.snapshot
  return (
    <>
      <Top
        crumbs={[
          ["Tasks", "/tasks"],
          [task.namespace, `/tasks?namespace=${task.namespace}`],
          [task.name, `/tasks?namespace=${task.namespace}&name=${task.name}`],
          [shortId(task.id), null],
        ]}
      />
      <Head task={task} act={setAction} />
      <Work picture={picture} stale={<Stale problem={resource.problem} reload={resource.reload} />} act={setAction} />
      {action && (
        <ActionDialog
          action={action}
          onClose={() => setAction(null)}
          onDone={() => {
            setAction(null)
            resource.reload()
          }}
        />
      )}
    </>
  )
}

function Head(props: { task: TaskSummaryView; act: (action: Action) => void }) {
  const { task, act } = props
  const look = taskLook(task)
  const open = isOpen(task)
  const paused = task.pauses.some((pause) => pause.kind === "task")
  const permitted = (permission: string) => refusal(permission, task.namespace)
  const retry = task.counts.error ? permitted("tasks:retry") : "no step has failed"
  const resolve = task.status === "error" ? permitted("tasks:resolve") : "only a failed task can be resolved"
  const cancel = open ? permitted("tasks:cancel") : "the task has ended"
  useKeys({
    c: () => cancel === null && act(cancelAction(task)),
    e: () => retry === null && act(retryTaskAction(task)),
    r: () => resolve === null && act(resolveTaskAction(task)),
    y: () => void navigator.clipboard.writeText(location.href),
  })
  return (
    <div class="hd">
      <div class="l1">
        <h1 class="ell" title={task.full_name}>{task.title ?? task.name} <span>{task.title ? `${task.name} ${task.version}` : task.version}</span></h1>
        <Pill look={look} />
        <div class="act">
          {open ? (
            <>
              <Button icon="pause" disabledBecause={permitted("tasks:pause")} onClick={() => act(pauseAction(task))}>{paused ? "Resume" : "Pause"}</Button>
              <Button icon="stop" title="c" disabledBecause={cancel} onClick={() => act(cancelAction(task))}>Cancel…</Button>
            </>
          ) : (
            task.status === "error" && (
              <>
                <Button icon="retry" title="e" disabledBecause={retry} onClick={() => act(retryTaskAction(task))}>Retry…</Button>
                <Button icon="ok" title="r" disabledBecause={resolve} onClick={() => act(resolveTaskAction(task))}>Resolve…</Button>
              </>
            )
          )}
          <TaskMenu id={task.id} />
        </div>
      </div>
      <div class="facts">
        <span><Progress counts={task.counts} /><b>{doneOf(task.counts).toLocaleString("en")} of {totalOf(task.counts).toLocaleString("en")}</b> {totalOf(task.counts) === 1 ? "step" : "steps"}</span>
        {task.counts.uncounted > 0 && <span class="c-retry" title="This page counts and draws the first 10,000 steps of a task. GET /v1/tasks/{id}/steps returns all of them, page by page.">and {task.counts.uncounted.toLocaleString("en")} more that are not counted here</span>}
        <span>Created <b><Time at={task.created_at} /></b>, {ago(task.created_at)}</span>
        {task.created_by && <span>by <b>{task.created_by}</b></span>}
        {task.correlation_id !== task.id && (
          <a href={href(`/tasks?correlation_id=${encodeURIComponent(task.correlation_id)}`)}>Correlation <span class="mono">{task.correlation_id.length > 20 ? `${task.correlation_id.slice(0, 12)}…` : task.correlation_id}</span></a>
        )}
        {task.parent_id && <a href={href(`/tasks/${task.parent_id}`)}>Parent <span class="mono">{shortId(task.parent_id)}</span></a>}
        {task.deadline && <Deadline at={task.deadline} open={open} />}
        {task.tags.map((tag) => <a key={tag} class="chip" href={href(`/tasks?tag=${encodeURIComponent(tag)}`)}>{tag}</a>)}
        <span class="mono muted id">{shortId(task.id)}… </span>
        <Copy text={task.id} label="Copy the id" />
      </div>
    </div>
  )
}

function Deadline(props: { at: string; open: boolean }) {
  tick.value
  const left = Date.parse(props.at) - now()
  return <span>Deadline <b><Time at={props.at} /></b>{props.open && left > 0 && `, in ${countdown(left)}`}</span>
}

function Work(props: { picture: Picture; stale: preact.ComponentChildren; act: (action: Action) => void }) {
  const { picture } = props
  const { task } = picture.snapshot
  const { query } = route.value
  const asked = query.get("view")
  const view: ViewName = VIEWS.find((one) => one === asked) ?? (picture.nodes.length > MANY ? "timeline" : "both")
  const selected = query.get("step")
  const node = selected ? (picture.byKey.get(selected) ?? null) : null
  const [compress, setCompress] = useState(true)
  const [wall, setWall] = useState(false)
  const created = Date.parse(task.created_at)
  tick.value
  const whole = isOpen(task) ? now() - created : picture.end
  const instant = Date.parse(query.get("at") ?? "") - created
  const past = instant >= 0 && instant < whole ? instant : null
  const shown = useMemo(() => (past === null ? picture : pictureAt(picture, past)), [picture, past])
  const critical = useMemo(() => criticalPath(shown), [shown])
  const at = past ?? whole

  const select = (key: string | null) => setQuery({ step: key === selected ? null : key }, { replace: true })
  const step = (by: number) => {
    const from = picture.nodes.findIndex((one) => one.key === selected)
    const next = picture.nodes[Math.min(Math.max(from + by, 0), picture.nodes.length - 1)]
    if (next && next.key !== selected) select(next.key)
  }
  const show = (name: ViewName) => setQuery({ view: name }, { replace: true })
  useKeys({
    j: () => step(1),
    k: () => step(-1),
    "]": () => step(1),
    "[": () => step(-1),
    f: () => {
      const failed = picture.nodes.filter((one) => one.status === "error")
      const from = failed.findIndex((one) => one.key === selected)
      const next = failed[(from + 1) % failed.length]
      if (next && next.key !== selected) select(next.key)
    },
    ...Object.fromEntries(VIEWS.map((name, no) => [String(no + 1), () => show(name)])),
    Escape: () => selected && select(selected),
  })
  const switcher = (
    <div class="seg" role="group" aria-label="View">
      {VIEWS.map((name, no) => (
        <button type="button" key={name} aria-pressed={name === view} title={String(no + 1)} onClick={() => show(name)}>{name[0]!.toUpperCase() + name.slice(1)}</button>
      ))}
    </div>
  )
  const steps = picture.snapshot.task.counts
  const usual = useUsual(task)
  const graph = view === "both" || view === "graph"
  const timeline = view === "both" || view === "timeline"
  return (
    <div class={`work${node ? " with-drawer" : ""}`}>
      <div class={`left view-${view}`}>
        {props.stale}
        {past === null ? <WhyBanner picture={picture} act={props.act} /> : <Past at={created + past} after={past} />}
        {graph && (
          <section class={`panel graph${view === "graph" ? " fill" : ""}`}>
            <header>
              <h2>Graph</h2>
              <span class="muted ell">{plural(totalOf(steps), "step")}{picture.nodes.length !== totalOf(steps) ? `, ${plural(picture.nodes.length, "node")}` : ""}, critical path highlighted</span>
              <span class="sp" />
              {switcher}
            </header>
            <GraphView picture={shown} selected={selected} critical={critical} now={at} fileName={`${picture.snapshot.task.name}-${shortId(picture.snapshot.task.id)}`} select={select} />
          </section>
        )}
        {timeline && (
          <section class="panel fill">
            <header>
              <h2>Timeline</h2>
              <span class="muted ell">{duration(Math.max(0, at) / 1000)}{past !== null ? "" : isOpen(task) ? " so far" : ""}{usual?.task && `, ${usually(usual.task)}`}</span>
              <span class="sp" />
              <Toggle on={compress} set={setCompress}>Compress idle time</Toggle>
              <Toggle on={wall} set={setWall}>Wall clock</Toggle>
              {!graph && switcher}
            </header>
            <TimelineView picture={shown} selected={selected} now={at} compress={compress} wall={wall} select={select} />
            <TimelineLegend picture={shown} />
            <Scrubber created={created} at={at} whole={whole} />
          </section>
        )}
        {view === "table" && (
          <section class="panel fill">
            <header><h2>Steps</h2><span class="muted">{plural(totalOf(steps), "step")}</span><span class="sp" />{switcher}</header>
            <StepTable picture={shown} selected={selected} now={at} select={select} />
          </section>
        )}
        {picture.snapshot.child_tasks.length > 0 && <ChildTasks picture={picture} />}
      </div>
      {node && <Drawer picture={picture} node={node} now={at} act={props.act} close={() => select(node.key)} select={select} />}
    </div>
  )
}

/** Says that the views show an earlier time. */
function Past(props: { at: number; after: number }) {
  return (
    <div class="why tone-idle" role="status">
      <Glyph look={EARLIER} />
      <p><b>As of {clock(props.at)}.</b> <span>{duration(props.after / 1000)} after the task was created. Step details and actions refer to the current state.</span></p>
      <Button onClick={() => setQuery({ at: null }, { replace: true })}>Back to now</Button>
    </div>
  )
}

const EARLIER: Look = { label: "Earlier", tone: "idle", glyph: "waiting_for_retry" }
const POINTS = 500

/** Chooses the time that the views show; the address keeps it. */
function Scrubber(props: { created: number; at: number; whole: number }) {
  const { created, at, whole } = props
  const choose = (point: number) => setQuery({ at: point >= POINTS ? null : new Date(created + (point / POINTS) * whole).toISOString() }, { replace: true })
  return (
    <label class="scrub">
      <span>As of</span>
      <input type="range" min={0} max={POINTS} value={Math.round((at / Math.max(whole, 1)) * POINTS)} aria-valuetext={clock(created + at)} onInput={(event) => choose(Number(event.currentTarget.value))} />
      <span class="num">{clock(created + at)}</span>
    </label>
  )
}

function ChildTasks(props: { picture: Picture }) {
  const children = props.picture.snapshot.child_tasks
  const { query } = route.value
  const shown = query.get("child")
  return (
    <section class="panel">
      <header><h2>Child tasks</h2><span class="muted">{children.length}</span></header>
      <ul class="rows">
        {children.map((child) => {
          const look = taskLook({ status: child.status, execution_status: "" })
          const open = child.id === shown
          return (
            <li key={child.id} class="child">
              <div class="line">
                <button type="button" class="icon fold" aria-expanded={open} aria-label={`Graph of ${child.full_name} ${shortId(child.id)}`} onClick={() => setQuery({ child: open ? null : child.id }, { replace: true })}><Icon name={open ? "chev" : "right"} /></button>
                <Glyph look={look} title />
                <a class="link ell" href={href(`/tasks/${child.id}`)}>{child.full_name}</a>
                <span class="mono id">{shortId(child.id)}</span>
              </div>
              {open && <ChildGraph id={child.id} ended={!isOpen(child)} />}
            </li>
          )
        })}
      </ul>
    </section>
  )
}

/** The graph of a child task in its place; its steps lead to its own page. */
function ChildGraph(props: { id: string; ended: boolean }) {
  const resource = useResource(`snapshot ${props.id}`, (signal) => get<SnapshotView>(`/v1/tasks/${props.id}/snapshot`, signal), props.ended ? null : EVERY)
  const picture = useMemo(() => (resource.data ? pictureOf(resource.data) : null), [resource.data])
  const critical = useMemo(() => (picture ? criticalPath(picture) : new Set<string>()), [picture])
  if (resource.problem && !picture) return <Failed problem={resource.problem} what="the child task" reload={resource.reload} />
  if (!picture) return <Loading what="the child task" />
  const { task } = picture.snapshot
  const at = isOpen(task) ? now() - Date.parse(task.created_at) : picture.end
  return <GraphView picture={picture} selected={null} critical={critical} now={at} select={(step) => step && navigate(`/tasks/${props.id}?${new URLSearchParams({ step })}`)} />
}

function Toggle(props: { on: boolean; set: (on: boolean) => void; children: string }) {
  return (
    <button type="button" class="tog" aria-pressed={props.on} onClick={() => props.set(!props.on)}>
      <Icon name={props.on ? "ok" : "none"} />
      <span>{props.children}</span>
    </button>
  )
}

const BANNERS: Record<string, Look> = {
  failed: { label: "Failed", tone: "err", glyph: "error" },
  paused: { label: "Paused", tone: "park", glyph: "waiting" },
  no_worker: { label: "No worker", tone: "retry", glyph: "enqueued" },
  retry_due: { label: "Waits for a retry", tone: "retry", glyph: "waiting_for_retry" },
  scheduled: { label: "Starts later", tone: "idle", glyph: "waiting_for_retry" },
  sleeping: { label: "Sleeps", tone: "park", glyph: "waiting_for_retry" },
  waits_for_task: { label: "Waits for a task", tone: "park", glyph: "waiting" },
  waits_for_signal: { label: "Waits for a signal", tone: "park", glyph: "waiting" },
  waiting: { label: "Parked", tone: "park", glyph: "waiting" },
  compensating: { label: "Compensates", tone: "park", glyph: "waiting" },
  ready: { label: "Ready", tone: "run", glyph: "enqueued" },
}

/** Above the views where a task is open and nothing of it runs, or where it failed. */
function WhyBanner(props: { picture: Picture; act: (action: Action) => void }) {
  const { task, mark } = props.picture.snapshot
  const failed = task.status === "error"
  const idle = isOpen(task) && task.counts.in_progress === 0
  const [reasons, setReasons] = useState<{ id: string; reasons: Reason[] }>({ id: task.id, reasons: [] })
  useEffect(() => {
    if (!failed && !idle) return
    const abort = new AbortController()
    get<Reason[]>(`/v1/tasks/${task.id}/why`, abort.signal).then(
      (reasons) => setReasons({ id: task.id, reasons }),
      () => {},
    )
    return () => abort.abort()
  }, [task.id, mark, failed, idle])
  tick.value
  const [first, ...others] = reasons.id === task.id ? reasons.reasons : []
  const look = first && BANNERS[first.code]
  if (!first || !look || (!failed && !idle)) return null
  const [sentence, ...rest] = first.text.replace(/[^.!?…]$/, "$&.").split(/(?<=\.) (?=[A-Z])/)
  const left = first.until ? Date.parse(first.until) - now() : null
  const more = others.filter((one) => one.blocking).length
  const retry = refusal("tasks:retry", task.namespace)
  const ownPause = task.pauses.find((pause) => pause.kind === "task")
  return (
    <div class={`why tone-${look.tone}`} role="status">
      <Glyph look={look} />
      <p>
        <b>{sentence}</b>{" "}
        <span>
          {rest.length > 0 && `${rest.join(" ")} `}
          {first.until && <>Due at {clock(first.until)}. </>}
          {more > 0 && `${plural(more, "other reason")}. `}
          {task.counts.pending > 0 && `${plural(task.counts.pending, "step")} pending.`}
        </span>
      </p>
      {left !== null && left > 0 && <span class="count">{countdown(left)}</span>}
      {first.code === "failed" && <Button kind="pri" icon="retry" disabledBecause={retry} onClick={() => props.act(retryTaskAction(task))}>Retry…</Button>}
      {first.code === "paused" && ownPause && (
        <Button kind="pri" disabledBecause={refusal("tasks:pause", task.namespace)} onClick={() => props.act(pauseAction(task))}>Resume…</Button>
      )}
      {first.task && <a class="btn" href={href(`/tasks/${first.task}`)}>Open that task</a>}
    </div>
  )
}
