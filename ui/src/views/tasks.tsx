// The list of tasks: find, compare, act on several.
import { useEffect, useMemo, useRef, useState } from "preact/hooks"
import { get, now, queryOf } from "../api/client.ts"
import type { TaskCounts, TaskList, TaskView } from "../api/types.ts"
import { ActionDialog, type Action } from "../parts/action.tsx"
import { Button, Copy, doneOf, Empty, Failed, Loading, Progress, shortId, Stale, Time, totalOf } from "../parts/bits.tsx"
import { CreatedChart } from "../parts/created.tsx"
import { FilterBar } from "../parts/filter_bar.tsx"
import { Glyph, Icon } from "../parts/icons.tsx"
import { SavedViews } from "../parts/saved_views.tsx"
import { Top } from "../parts/shell.tsx"
import { href, navigate, route, setQuery, withQuery } from "../router.ts"
import { apiQuery, command, createdIn, FILTERS, STATUSES } from "../state/filters.ts"
import { useKeys } from "../state/keys.ts"
import { taskPart, useLater, usePart } from "../state/later.ts"
import { useResource } from "../state/resource.ts"
import { countdown, duration, tick } from "../state/time.ts"
import { TASK_LOOKS, taskLook } from "../status.ts"

const PAGE = 100
const MOST = 10_000 // that are counted of a status
const EVERY = 2_000

export function Tasks() {
  const query = route.value.query
  const key = query.toString()
  const [older, setOlder] = useState<{ key: string; tasks: TaskView[]; cursor: string | null }>({ key, tasks: [], cursor: null })
  const load = (cursor: string | null, signal?: AbortSignal) =>
    get<TaskList>(`/v1/tasks${queryOf({ ...apiQuery(query, Math.floor(now() / EVERY) * EVERY), limit: PAGE, cursor, current: "true" })}`, signal)
  const list = useResource(`tasks ${key}`, (signal) => load(null, signal), EVERY)
  const pages = older.key === key ? older : { key, tasks: [], cursor: null }
  const [held, setHeld] = useState<{ key: string; tasks: TaskView[] } | null>(null)
  const scroller = useRef<HTMLDivElement>(null)

  // New rows wait above the list unless it is at its top, so that nothing moves under the reader.
  const fresh = list.data?.tasks ?? null
  const before = held?.key === key ? held.tasks : null
  const known = new Map(fresh?.map((task) => [task.id, task]))
  const first = before?.[0]?.id
  const news = before && first ? (fresh ?? []).filter((task) => task.id > first) : []
  const atTop = (scroller.current?.scrollTop ?? 0) < 8
  useEffect(() => {
    if (fresh && (!before || atTop || news.length === 0)) setHeld({ key, tasks: fresh })
  }, [fresh, key])
  const shown = useMemo(() => {
    const rows = (before && !atTop && news.length ? before.map((task) => known.get(task.id) ?? task) : fresh) ?? []
    const ids = new Set(rows.map((task) => task.id))
    return [...rows, ...pages.tasks.filter((task) => !ids.has(task.id))]
  }, [fresh, before, pages, atTop])
  const cursor = pages.tasks.length ? pages.cursor : (list.data?.pagination.next_cursor ?? null)

  const [action, setAction] = useState<Action | null>(null)
  const [current, setCurrent] = useState<string | null>(null)
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set())
  const [all, setAll] = useState(false)
  const bulk = useLater()
  usePart(taskPart, list.data !== null) // one of the tasks is probably opened next
  useEffect(() => setSelected(new Set()), [key])
  useEffect(() => setAll(false), [selected])
  const at = shown.findIndex((task) => task.id === current)
  const step = (by: number) => {
    const next = shown[Math.min(Math.max(at + by, 0), shown.length - 1)]
    if (!next) return
    setCurrent(next.id)
    document.getElementById(`task-${next.id}`)?.scrollIntoView({ block: "nearest" })
  }
  const anchor = useRef<string | null>(null)
  const toggle = (id: string) => {
    anchor.current = id
    const next = new Set(selected)
    if (!next.delete(id)) next.add(id)
    setSelected(next)
  }
  useKeys({
    j: () => step(1),
    k: () => step(-1),
    Enter: () => current && navigate(`/tasks/${current}`),
    x: () => current && toggle(current),
    X: () => {
      const from = shown.findIndex((task) => task.id === anchor.current)
      if (from < 0 || at < 0) return
      const span = shown.slice(Math.min(from, at), Math.max(from, at) + 1)
      setSelected(new Set([...selected, ...span.map((task) => task.id)]))
    },
    Escape: () => setSelected(new Set()),
  })
  const more = async () => {
    if (!cursor) return
    const page = await load(cursor)
    setOlder({ key, tasks: [...pages.tasks, ...page.tasks], cursor: page.pagination.next_cursor })
  }

  return (
    <>
      <Top crumbs={[["Tasks", null]]} />
      <div class="page list">
        <div class="ph">
          <h1>Tasks</h1>
          <div class="act"><a class="btn pri" href={href(withQuery("/tasks/new", new URLSearchParams(query.has("namespace") ? { namespace: query.get("namespace")! } : {})))}><Icon name="plus" />New task</a></div>
        </div>
        <div class="fl">
          <FilterBar />
          <SavedViews />
          <span class="narrow-hide"><Copy text={command(query, now())} label={command(query, now())}>Copy as CLI</Copy></span>
        </div>
        <StatusTabs />
        <CreatedChart />
        {bulk && <bulk.Operations act={setAction} />}
        {list.data && <Stale problem={list.problem} reload={list.reload} />}
        {!list.data && list.problem ? (
          <Failed problem={list.problem} what="tasks" reload={list.reload} />
        ) : !list.data ? (
          <Loading what="tasks" />
        ) : shown.length === 0 ? (
          <NoTasks />
        ) : (
          <div class="tb fill" ref={scroller}>
            {news.length > 0 && !atTop && (
              <button type="button" class="newer" onClick={() => { scroller.current?.scrollTo(0, 0); setHeld({ key, tasks: fresh ?? [] }) }}>
                {news.length} new
              </button>
            )}
            <Table tasks={shown} current={current} selected={selected} toggle={toggle} />
            <p class="more">
              {cursor ? <Button small onClick={() => void more()}>Show older tasks</Button> : `${shown.length.toLocaleString("en")} in total`}
            </p>
          </div>
        )}
        {bulk && selected.size > 0 && <bulk.BulkBar tasks={shown.filter((task) => selected.has(task.id))} all={all} setAll={setAll} act={setAction} clear={() => setSelected(new Set())} />}
      </div>
      {action && (
        <ActionDialog
          action={action}
          onClose={() => setAction(null)}
          onDone={() => {
            setAction(null)
            setSelected(new Set())
            list.reload()
          }}
        />
      )}
    </>
  )
}

function StatusTabs() {
  const { query, path } = route.value
  const { status: _, ...scope } = apiQuery(query, Math.floor(now() / EVERY) * EVERY)
  const counts = useResource(`counts ${new URLSearchParams(query)}`.replace(/status=\w+&?/, ""), (signal) => get<TaskCounts>(`/v1/tasks/counts${queryOf(scope)}`, signal), 2 * EVERY)
  const { pending = 0, in_progress = 0 } = counts.data?.by_status ?? {}
  const more = (status: string) => (status === "pending" || status === "in_progress") && pending + in_progress >= MOST // of which the newest are counted
  const shown = (count: number | undefined, status = "") => (count === undefined ? null : <small>{count.toLocaleString("en")}{(count >= MOST || more(status)) && "+"}</small>)
  const all = counts.data && Object.values(counts.data.by_status).reduce((sum, one) => sum + one, 0)
  const chosen = query.get("status")
  const to = (status: string | null) => {
    const next = new URLSearchParams(query)
    if (status) next.set("status", status)
    else next.delete("status")
    return href(withQuery(path, next))
  }
  return (
    <nav class="states" aria-label="Status">
      <a href={to(null)} aria-current={chosen ? undefined : "true"}>All {all !== null && <small>{all.toLocaleString("en")}{!counts.data!.exact && "+"}</small>}</a>
      {STATUSES.map((status) => (
        <a key={status} href={to(status)} aria-current={chosen === status ? "true" : undefined}>
          <Glyph look={TASK_LOOKS[status]!} />
          {TASK_LOOKS[status]!.label} {shown(counts.data?.by_status[status], status)}
        </a>
      ))}
    </nav>
  )
}

function NoTasks() {
  const query = route.value.query
  const active = ["status", "namespace", ...FILTERS.map((filter) => filter.key)].filter((key) => query.has(key))
  const span = createdIn(query) !== null
  if (active.length === 0 && !span) {
    return (
      <Empty icon="tasks" title="No tasks yet" command="tasker task create NAMESPACE.WORKFLOW --context '{}'">
        A task is one run of a workflow. Create a task from the command line or from your program, or try the example with <b>tasker demo</b>.
      </Empty>
    )
  }
  return (
    <Empty
      icon="find"
      title="No task matches all filters"
      actions={[
        ...active.map((key) => (
          <Button key={key} icon="x" onClick={() => setQuery({ [key]: null })}>
            Remove filter: {FILTERS.find((filter) => filter.key === key)?.label ?? key} {query.get(key)}
          </Button>
        )),
        span && <Button key="span" icon="x" onClick={() => setQuery({ created_after: null, created_before: null })}>Remove filter: created</Button>,
      ]}
    >
      Remove a filter to see more tasks.
    </Empty>
  )
}

interface TableProps {
  tasks: TaskView[]
  current: string | null
  selected: ReadonlySet<string>
  toggle: (id: string) => void
}

function Table(props: TableProps) {
  return (
    <table class="fixed tasks">
      <colgroup>
        <col class="w-ck" /><col class="w-status" /><col class="w-wf" /><col class="w-ns wide" /><col class="w-steps narrow-hide" /><col class="w-what narrow-hide" />
        <col class="w-id wider" /><col class="w-by widest" /><col class="w-created" /><col class="w-took narrow-hide" />
      </colgroup>
      <thead>
        <tr>
          <th><span class="vh">Selected</span></th><th>Status</th><th>Workflow</th><th class="wide">Namespace</th><th class="narrow-hide">Steps</th>
          <th class="narrow-hide">Activity</th><th class="wider">Id</th><th class="widest">Created by</th><th class="num">Created</th>
          <th class="num narrow-hide">Duration</th>
        </tr>
      </thead>
      <tbody>
        {props.tasks.map((task) => (
          <Row
            key={task.id}
            task={task}
            current={task.id === props.current}
            selected={props.selected.has(task.id)}
            toggle={props.toggle}
          />
        ))}
      </tbody>
    </table>
  )
}

function Row(props: { task: TaskView; current: boolean; selected: boolean; toggle: (id: string) => void }) {
  const { task } = props
  const look = taskLook(task)
  return (
    <tr id={`task-${task.id}`} class={`row${props.current ? " cur" : ""}${props.selected ? " sel" : ""}`}>
      <td class="ck">
        <input type="checkbox" aria-label={`Select ${task.name} ${shortId(task.id)}`} checked={props.selected} onChange={() => props.toggle(task.id)} />
      </td>
      <td class="st"><Glyph look={look} />{look.label}</td>
      <td>
        <a class="wf" href={href(`/tasks/${task.id}`)} title={task.title ?? task.full_name}><b>{task.name}</b><span class="muted">{task.version}</span></a>
      </td>
      <td class="wide sec">{task.namespace}</td>
      <td class="narrow-hide sec"><Progress counts={task.counts} />{doneOf(task.counts)}/{totalOf(task.counts)}{task.counts.uncounted > 0 && <span title={`and ${task.counts.uncounted.toLocaleString("en")} more steps that are not counted here`}>+</span>}</td>
      <td class="narrow-hide sec" onMouseEnter={(event) => (event.currentTarget.title = event.currentTarget.textContent)}><Happens task={task} /></td>
      <td class="wider mono id" title={task.id}>{shortId(task.id)}</td>
      <td class="widest sec" title={task.created_by}>{task.created_by}</td>
      <td class="num sec"><Time at={task.created_at} /></td>
      <td class="num narrow-hide"><Took task={task} /></td>
    </tr>
  )
}

function Took(props: { task: TaskView }) {
  const { task } = props
  if (!task.ended_at) tick.value
  const end = task.ended_at ? Date.parse(task.ended_at) : now()
  return <>{duration(Math.max(0, end - Date.parse(task.created_at)) / 1000)}</>
}

function Happens(props: { task: TaskView }) {
  const { task } = props
  const { current } = task
  const pause = task.pauses[0]
  if (pause && !task.ended_at) return <span class="c-park">paused by {pause.paused_by}</span>
  if (!current || (task.ended_at && task.status !== "error")) return task.title ? <>{task.title}</> : null
  tick.value
  const left = current.run_at ? Date.parse(current.run_at) - now() : 0
  switch (current.status) {
    case "error":
      return <><span class="c-err">{current.code ?? current.type ?? "failed"}</span> in {current.step}</>
    case "waiting_for_retry":
      return <>{current.step}, attempt {current.attempts + 1} {left > 0 ? `in ${countdown(left)}` : "is due"}</>
    case "waiting":
      return <>{current.step} is waiting</>
    case "enqueued":
      if (task.execution_status === "no_worker") return <span class="c-retry">no worker serves {current.step}</span>
      return left > 0 ? <>{current.step} starts in {countdown(left)}</> : <>{current.step} is queued</>
    default:
      return <>{current.step} is running</>
  }
}
