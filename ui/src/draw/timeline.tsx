// The timeline of a task: rows of a fixed height that scroll together with their bars; only those in sight exist.
import type { VNode } from "preact"
import { useEffect, useMemo, useRef, useState } from "preact/hooks"
import type { SnapshotError, SnapshotView } from "../api/types.ts"
import { ranFor, type Picture, type StepNode } from "../state/picture.ts"
import { clock, countdown, duration } from "../state/time.ts"
import { isUnusual, usually, usualOf, useUsual } from "../state/usual.ts"
import { stepLook } from "../status.ts"
import { useDraggedSpan } from "../parts/drag.ts"
import { Glyph } from "../parts/icons.tsx"
import { makeScale, type Scale, type Span } from "./timescale.ts"

const ROW = 32
const HEAD = 26
const LEAST = 4 // pixels: a shorter span is a click

interface Row {
  node: StepNode
  /** Position of an attempt in the node's history; its length is the attempt to come or in progress. */
  attempt: number | null
}

interface Props {
  picture: Picture
  selected: string | null
  now: number
  compress: boolean
  wall: boolean
  select: (key: string) => void
}

export function TimelineView(props: Props) {
  const { picture, selected, now } = props
  const scroller = useRef<HTMLDivElement>(null)
  const [box, setBox] = useState({ width: 528, height: 400, top: 0 })
  useEffect(() => {
    const element = scroller.current
    if (!element) return
    const observer = new ResizeObserver(() => {
      const names = element.querySelector(".tl-names")?.clientWidth ?? 296
      setBox((before) => ({ ...before, width: Math.max(120, element.clientWidth - names - 16), height: element.clientHeight }))
    })
    observer.observe(element)
    return () => observer.disconnect()
  }, [])

  const [zoom, setZoom] = useState<Span | null>(null)
  const rows = useMemo(() => rowsOf(picture.nodes, selected), [picture, selected])
  const end = picture.snapshot.task.ended_at ? picture.end : Math.max(picture.end, now)
  const scale = useMemo(() => {
    const busy: Span[] = []
    let last = end
    for (const node of picture.nodes) {
      for (const one of node.history) if (one.claimed !== null) busy.push([one.claimed, one.settled])
      if (node.group && node.claimed !== null) busy.push([node.claimed, node.settled ?? now])
      if (node.status === "in_progress" && node.claimed !== null) busy.push([node.claimed, now])
      if (node.status === "waiting_for_retry" && node.runAt !== null) {
        last = Math.max(last, node.runAt + typical(node))
        busy.push([node.runAt, node.runAt + typical(node)])
      }
    }
    if (!zoom) return makeScale(busy, [0, last], box.width, props.compress)
    const inside = busy.filter(([from, to]) => to >= zoom[0] && from <= zoom[1])
    return makeScale(inside.map(([from, to]) => [Math.max(from, zoom[0]), Math.min(to, zoom[1])]), zoom, box.width, props.compress)
  }, [picture, box.width, props.compress, Math.floor(now / 1000), end, zoom])
  const positionOf = (event: PointerEvent) => Math.max(0, Math.min(box.width, event.clientX - (event.currentTarget as Element).getBoundingClientRect().left))
  const drag = useDraggedSpan(positionOf, (from, to) => to - from > LEAST && setZoom([scale.invert(from), scale.invert(to)]))

  const first = Math.max(0, Math.floor((box.top - HEAD) / ROW) - 4)
  const pool = Math.ceil(box.height / ROW) + 8 // rows that exist; one that leaves on one side comes in on the other
  const shown = rows.slice(first, first + pool)
  useEffect(() => {
    const at = rows.findIndex((row) => row.node.key === selected)
    const element = scroller.current
    if (at < 0 || !element) return
    const top = HEAD + at * ROW
    if (top < element.scrollTop + HEAD) element.scrollTop = top - HEAD
    else if (top + ROW > element.scrollTop + element.clientHeight) element.scrollTop = top + ROW - element.clientHeight
  }, [selected])
  const created = Date.parse(picture.snapshot.task.created_at)
  const height = HEAD + rows.length * ROW
  const open = !picture.snapshot.task.ended_at
  return (
    <div
      class="tl"
      ref={scroller}
      tabIndex={0}
      role="group"
      aria-label="Timeline"
      onScroll={(event) => setBox((before) => ({ ...before, top: event.currentTarget?.scrollTop ?? scroller.current?.scrollTop ?? 0 }))}
    >
      <div class="tl-in" style={{ height: `${height}px` }}>
        <div class="tl-head">
          <div class="tl-names hdr"><span>Step{zoom && <button type="button" class="link" onClick={() => setZoom(null)}>Reset zoom</button>}</span><span>Attempts</span><span>Ran</span></div>
          <svg
            width={box.width}
            height={HEAD}
            aria-hidden="true"
            {...drag.handlers}
            onDblClick={() => setZoom(null)}
          >
            <rect class="none" width={box.width} height={HEAD} />
            {drag.span && <rect class="chosen" x={drag.span[0]} width={drag.span[1] - drag.span[0]} height={HEAD} />}
            {scale.pieces.filter((piece) => piece.idle).map((piece) => (
              <text key={piece.from} class="tk" x={(piece.x0 + piece.x1) / 2} y={16} text-anchor="middle">{idleLabel(piece.to - piece.from)}</text>
            ))}
            {scale.ticks.map((tick) => (
              <text key={tick.ms} class="tk" x={tick.x + (tick.x < 8 ? 2 : 0)} y={16} text-anchor={tick.x < 8 ? "start" : tick.x > box.width - 20 ? "end" : "middle"}>
                {props.wall ? clock(created + tick.ms).slice(-8) : tickLabel(tick.ms)}
              </text>
            ))}
          </svg>
        </div>
        <div class="tl-still"><svg class="tl-grid" width={box.width} height={Math.max(0, Math.min(box.height, height) - HEAD)} aria-hidden="true">
          <defs>
            <pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
              <rect class="hatch-a" width="6" height="6" /><rect class="hatch-b" width="2.2" height="6" />
            </pattern>
          </defs>
          {scale.pieces.filter((piece) => piece.idle).map((piece) => (
            <g key={piece.from}>
              <rect class="gap" x={piece.x0} y={0} width={piece.x1 - piece.x0} height={height} />
              <path class="gapl" d={`M${piece.x0} 0V${height}M${piece.x1} 0V${height}`} />
            </g>
          ))}
          {scale.ticks.map((tick) => <line key={tick.ms} class="tick" x1={tick.x} x2={tick.x} y1={0} y2={height} />)}
          {open && <path class="now" d={`M${scale.at(now)} 0V${height}`} />}
          {open && <path class="nowh" d={`M${scale.at(now) - 4} 0h8l-4 5z`} />}
        </svg></div>
        {shown.map((row, no) => (
          <TimelineRow
            key={(first + no) % pool}
            row={row}
            top={HEAD + (first + no) * ROW}
            scale={scale}
            now={now}
            errors={picture.snapshot.errors}
            version={picture.snapshot.task}
            selected={row.node.key === selected}
            width={box.width}
            select={props.select}
          />
        ))}
      </div>
    </div>
  )
}

/** Each step, and below the selected one its attempts. */
function rowsOf(nodes: readonly StepNode[], selected: string | null): Row[] {
  const rows: Row[] = []
  for (const node of nodes) {
    rows.push({ node, attempt: null })
    if (node.key !== selected || node.group) continue
    const more = node.status === "waiting_for_retry" || node.status === "in_progress"
    const count = node.history.length + (more ? 1 : 0)
    if (count > 1) for (let attempt = 0; attempt < Math.min(count, 100); attempt++) rows.push({ node, attempt })
  }
  return rows
}

/** How long an attempt of the step took, on average; for the one to come. */
function typical(node: StepNode): number {
  const lengths = node.history.filter((one) => one.claimed !== null).map((one) => one.settled - one.claimed!)
  return lengths.length ? lengths.reduce((a, b) => a + b, 0) / lengths.length : 300
}

function idleLabel(ms: number): string {
  return `${duration(ms / 1000)} idle`
}

function tickLabel(ms: number): string {
  if (ms === 0) return "0"
  if (ms < 60_000) return `${Number((ms / 1000).toFixed(3))} s`
  return duration(ms / 1000)
}

interface RowProps {
  row: Row
  top: number
  scale: Scale
  now: number
  errors: readonly SnapshotError[]
  version: SnapshotView["task"]
  selected: boolean
  width: number
  select: (key: string) => void
}

function TimelineRow(props: RowProps) {
  const { row, now, scale, selected } = props
  const { node } = row
  const look = stepLook(node.status)
  const style = { transform: `translateY(${props.top}px)` }
  if (row.attempt !== null) {
    const one = node.history[row.attempt]
    const code = one?.error !== null && one?.error !== undefined ? (props.errors[one.error]?.code ?? props.errors[one.error]?.type ?? "failed") : ""
    const last = node.countedAttempts + 1 >= node.maxAttempts
    return (
      <div class="tl-row sub" style={style}>
        <div class="tl-names r sub">
          <span class="nm">attempt {one?.attempt ?? node.attempts + (node.status === "in_progress" ? 0 : 1)}</span>
          <span class={one ? "c-err ell" : "c-retry"}>{one ? code : node.status === "in_progress" ? "running" : last ? "last" : "next"}</span>
          <span>
            {one ? (one.claimed === null ? "–" : duration((one.settled - one.claimed) / 1000)) : node.runAt !== null && node.runAt > now ? `in ${countdown(node.runAt - now)}` : duration((now - (node.claimed ?? now)) / 1000)}
          </span>
        </div>
        <svg width={props.width} height={ROW} aria-hidden="true"><Bars node={node} scale={scale} now={now} only={row.attempt} /></svg>
      </div>
    )
  }
  const attempts = node.group ? node.group.count.toLocaleString("en") : node.countedAttempts ? (node.status === "waiting_for_retry" || node.countedAttempts > 1 ? `${node.countedAttempts} / ${Math.max(node.maxAttempts, node.countedAttempts)}` : String(node.countedAttempts)) : "–"
  const ran = ranFor(node, now)
  const usual = usualOf(props.version, node.name)
  return (
    <div
      class={`tl-row${selected ? " sel" : ""}`}
      style={style}
      role="button"
      tabIndex={-1}
      aria-pressed={selected}
      data-step={node.key}
      onClick={() => props.select(node.key)}
    >
      <div class={`tl-names r${selected ? " sel" : ""}`}>
        <Glyph look={look} title />
        <span class="nm" title={node.name}>{node.name}</span>
        <span>{attempts}</span>
        <span class={usual && isUnusual(usual, ran) ? "c-retry" : ""} title={usual ? usually(usual) : ""}>{ran > 0 ? duration(ran) : usual ? <span class="muted">~{duration(usual.median)}</span> : "–"}</span>
      </div>
      <svg width={props.width} height={ROW} aria-hidden="true"><Bars node={node} scale={scale} now={now} only={null} usual={usual?.median} /></svg>
    </div>
  )
}

function Bars(props: { node: StepNode; scale: Scale; now: number; only: number | null; usual?: number | undefined }) {
  const { node, scale, now, only } = props
  const bars: VNode[] = []
  const bar = (key: string, kind: string, from: number, to: number, tall = 14) => {
    if (to < scale.pieces[0]!.from || from > scale.pieces.at(-1)!.to) return
    const [a, b] = [scale.at(from), scale.at(to)]
    bars.push(<rect key={key} class={kind} x={a} y={(ROW - tall) / 2} width={Math.max(b - a, kind === "b-queue" ? 0 : 1.5)} height={tall} rx={Math.min(3, Math.max(b - a, 1.5) / 2)} />)
  }
  if (node.group) {
    if (node.claimed !== null) bar("g", node.settled !== null && node.status === "complete" ? "b-ok" : "b-run", node.claimed, node.settled ?? now)
    return <>{bars}</>
  }
  let before: number | null = null
  for (const [no, one] of node.history.entries()) {
    const due = one.enqueued ?? one.claimed ?? one.settled
    if (only === null || only === no) {
      if (before !== null && due > before) bar(`r${no}`, node.history[no - 1]?.outcome === "parked" ? "b-park" : "b-back", before, due)
      if (one.claimed !== null) {
        if (one.claimed - due > 1) bar(`q${no}`, "b-queue", due, one.claimed, 4)
        bar(`a${no}`, OUTCOME_BARS[one.outcome] ?? "b-ok", one.claimed, one.settled)
      }
    }
    before = one.settled
  }
  const next = only === null || only === node.history.length
  if (next && node.status === "waiting_for_retry" && node.runAt !== null) {
    if (before !== null) bar("back", "b-back", before, node.runAt)
    bar("ghost", "b-ghost", node.runAt, node.runAt + typical(node))
  } else if (next && node.status === "in_progress" && node.claimed !== null) {
    const due = node.enqueued ?? node.claimed
    if (before !== null && due > before) bar("back", "b-back", before, due)
    if (node.claimed - due > 1) bar("queue", "b-queue", due, node.claimed, 4)
    bar("run", "b-run", node.claimed, now)
  } else if (next && node.status === "enqueued") {
    bar("queue", "b-queue", node.enqueued ?? 0, now, 4)
  } else if (next && node.status === "waiting") {
    bar("park", "b-park", before ?? node.enqueued ?? 0, now)
  } else if (only === null && node.status === "pending") {
    bars.push(<line key="wait" class="b-block" x1={2} x2={scale.at(now)} y1={ROW / 2} y2={ROW / 2} />)
  }
  if (props.usual !== undefined && node.claimed !== null && node.status !== "waiting_for_retry") bar("usual", "b-usual", node.claimed, node.claimed + 1000 * props.usual, 20)
  return <>{bars}</>
}

const OUTCOME_BARS: Record<string, string> = {
  complete: "b-ok",
  resolved_manually: "b-ok",
  retry: "b-err",
  error: "b-err",
  lost: "b-err",
  parked: "b-run",
  released: "b-idle",
  cancelled: "b-idle",
}

export function TimelineLegend(props: { picture: Picture }) {
  const outcomes = new Set(props.picture.snapshot.history.map((one) => one.outcome))
  const statuses = new Set(props.picture.snapshot.status)
  const usual = useUsual(props.picture.snapshot.task)
  const entry = (kind: string, text: string) => (
    <span key={text}><svg aria-hidden="true"><rect class={kind} x=".6" y=".6" width="16.8" height="6.8" rx="2" /></svg>{text}</span>
  )
  return (
    <div class="leg">
      {entry("b-ok", "ran")}
      {(outcomes.has("retry") || outcomes.has("error") || outcomes.has("lost")) && entry("b-err", "failed")}
      {(outcomes.has("retry") || outcomes.has("lost")) && entry("b-back", "backoff")}
      {statuses.has("in_progress") && entry("b-run", "running")}
      {(outcomes.has("parked") || statuses.has("waiting")) && entry("b-park", "waiting")}
      {entry("b-queue", "queued")}
      {statuses.has("pending") && <span><svg aria-hidden="true"><line class="b-block" x1="1" x2="17" y1="4" y2="4" /></svg>pending</span>}
      {statuses.has("waiting_for_retry") && entry("b-ghost", "expected")}
      {usual?.task && entry("b-usual", "usual duration")}
    </div>
  )
}
