// The graph on a canvas, where so many nodes are in sight that elements would be too slow: blocks from afar,
// glyphs and then names from nearby. Steps that failed are drawn last, and never smaller than a few pixels.
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks"
import type { Picture } from "../state/picture.ts"
import { stepLook } from "../status.ts"
import { useColours, type Colours } from "./colours.ts"
import { NODE_WIDTH, type Layout } from "./layout.ts"
import { endsOf } from "./mirror.ts"
import type { Places } from "./places.ts"

const GLYPHS = 0.3 // zoom from which nodes have glyphs
const NAMES = 0.45 // zoom from which they have names
const LEAST = 5 // pixels of a failed step
const FLUENT = 12 // milliseconds that drawing may take to be done for each movement
const REST = 80 // milliseconds without movement after which a slow drawing is made again
const SLACK = 6 // pixels beside a node in which it is still hit

export interface View {
  x: number
  y: number
  k: number
}

interface Props {
  picture: Picture
  layout: Layout
  places: Places
  height: number
  view: View
  size: { width: number; height: number }
  critical: ReadonlySet<string>
  selected: string | null
  captionOf: (key: string) => string
  select: (key: string | null) => void
}

export function CanvasGraph(props: Props) {
  const { picture, layout, places, view, size, selected } = props
  const canvas = useRef<HTMLCanvasElement>(null)
  const colour = useColours()
  const drawn = useRef<{ view: View; ms: number } | null>(null)
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined)
  const [, redraw] = useState(0)
  const names = view.k >= NAMES
  const captions = names ? Math.floor(Date.now() / 1000) : 0
  const still = useMemo(() => ({}), [picture, layout, size, props.critical, selected, colour, captions])
  const last = useRef<object | null>(null)

  useLayoutEffect(() => {
    const element = canvas.current
    const context = element?.getContext("2d")
    if (!element || !context) return
    const before = drawn.current
    const moved = before && last.current === still && (before.view.x !== view.x || before.view.y !== view.y || before.view.k !== view.k)
    if (moved && before.ms > FLUENT) {
      const k = view.k / before.view.k
      element.style.transform = `translate(${view.x - before.view.x * k}px, ${view.y - before.view.y * k}px) scale(${k})`
      clearTimeout(timer.current)
      timer.current = setTimeout(() => {
        drawn.current = null
        redraw((turn) => turn + 1)
      }, REST)
      return
    }
    if (before && last.current === still && !moved) return
    const ratio = devicePixelRatio
    element.width = Math.round(size.width * ratio)
    element.height = Math.round(size.height * ratio)
    element.style.transform = ""
    const started = performance.now()
    context.scale(ratio, ratio)
    draw(context, props, colour)
    drawn.current = { view, ms: performance.now() - started }
    last.current = still
  })

  const hit = (event: PointerEvent): string | null => {
    const box = canvas.current!.parentElement!.getBoundingClientRect()
    const no = places.at((event.clientX - box.left - view.x) / view.k, (event.clientY - box.top - view.y) / view.k, SLACK / view.k)
    return no === null ? null : picture.nodes[no]!.key
  }
  const walk = (event: KeyboardEvent) => {
    const node = selected === null ? picture.nodes[0] : picture.byKey.get(selected)
    if (!node) return
    const beside = (by: 1 | -1) => {
      const no = places.beside(picture.nodes.indexOf(node), by)
      return no === null ? undefined : picture.nodes[no]!.key
    }
    const to = selected === null ? node.key
      : event.key === "ArrowRight" ? node.children[0]
      : event.key === "ArrowLeft" ? node.parents[0]
      : beside(event.key === "ArrowDown" ? 1 : -1)
    event.preventDefault()
    if (to !== undefined) props.select(to)
  }
  const node = selected === null ? undefined : picture.byKey.get(selected)
  return (
    <>
      <canvas
        ref={canvas}
        class="dag"
        style={{ width: `${size.width}px`, height: `${size.height}px` }}
        tabIndex={0}
        role="application"
        aria-label={`Graph of ${picture.nodes.length.toLocaleString("en")} steps; arrow keys go from step to step`}
        onPointerUp={(event) => {
          if (event.currentTarget.parentElement?.dataset["moved"]) return
          const key = hit(event)
          if (key === null) return
          event.stopPropagation()
          props.select(key)
        }}
        onPointerMove={(event) => {
          const key = hit(event)
          event.currentTarget.title = key === null ? "" : `${picture.byKey.get(key)!.name}: ${props.captionOf(key)}`
        }}
        onKeyDown={(event) => event.key.startsWith("Arrow") && walk(event)}
      />
      <p class="sr" role="status">{node && `${node.name}, ${stepLook(node.status).label}`}</p>
    </>
  )
}

function draw(context: CanvasRenderingContext2D, props: Props, colour: Colours): void {
  const { picture, layout, view, size, height } = props
  const { k } = view
  context.clearRect(0, 0, size.width, size.height)
  context.translate(view.x, view.y)
  context.scale(k, k)
  context.lineCap = "round"
  drawEdges(context, props, colour)
  const nodes = props.places.within(-view.x / k, -view.y / k, (size.width - view.x) / k, (size.height - view.y) / k)
  const byTone = new Map<string, number[]>()
  for (const no of nodes) {
    const { tone } = stepLook(picture.nodes[no]!.status)
    const same = byTone.get(tone)
    if (same) same.push(no)
    else byTone.set(tone, [no])
  }
  const blocks = k < GLYPHS
  for (const tone of ["idle", "ok", "park", "run", "retry", "err"]) {
    const least = tone === "err" ? LEAST / k : 1.5 / k
    context.beginPath()
    for (const no of byTone.get(tone) ?? []) {
      const [w, h] = [Math.max(NODE_WIDTH, least), Math.max(height, least)]
      const [x, y] = [layout.x[no]! - (w - NODE_WIDTH) / 2, layout.y[no]! - (h - height) / 2]
      if (blocks) context.rect(x, y, w, h)
      else context.roundRect(x, y, w, h, 8)
    }
    context.lineWidth = Math.max(1.2, 0.8 / k)
    context.strokeStyle = context.fillStyle = tone === "idle" ? colour("line2") : colour(`${tone}-fill`)
    if (blocks && tone !== "idle") context.fill()
    else {
      context.fillStyle = colour("surface")
      context.fill()
      context.stroke()
    }
  }
  if (!blocks) for (const no of nodes) drawFace(context, props, colour, no)
  const at = props.selected === null ? -1 : picture.nodes.findIndex((node) => node.key === props.selected)
  if (at >= 0) {
    const gap = Math.max(3.5, 3 / k)
    context.strokeStyle = colour("accent")
    context.lineWidth = Math.max(2, 2 / k)
    context.beginPath()
    context.roundRect(layout.x[at]! - gap, layout.y[at]! - gap, NODE_WIDTH + 2 * gap, height + 2 * gap, 8 + gap)
    context.stroke()
  }
}

function drawEdges(context: CanvasRenderingContext2D, props: Props, colour: Colours): void {
  const { picture, layout, view, size, height, critical } = props
  const { k } = view
  const curved = k >= GLYPHS
  const [left, right] = [-view.x / k, (size.width - view.x) / k]
  const [top, bottom] = [-view.y / k, (size.height - view.y) / k]
  const trace = (e: number) => {
    const [from, to] = [picture.edges[e]!, picture.edges[e + 1]!]
    const { x0, y0, x1, y1 } = endsOf(layout, from, to, height)
    let [x, y] = [x0, y0]
    const last: [number, number] = [x1, y1]
    if (Math.max(x0, x1) < left || Math.min(x0, x1) > right || Math.max(y, last[1]) < top - 200 || Math.min(y, last[1]) > bottom + 200) return
    context.moveTo(x, y)
    for (const [nextX, nextY] of [...(layout.bends[e / 2] ?? []), last]) {
      const middle = (x + nextX) / 2
      if (curved) context.bezierCurveTo(middle, y, middle, nextY, nextX, nextY)
      else context.lineTo(nextX, nextY)
      ;[x, y] = [nextX, nextY]
    }
  }
  const kinds = new Map<string, number[]>([["todo", []], ["", []], ["hot", []]])
  for (let e = 0; e < picture.edges.length; e += 2) {
    const [parent, child] = [picture.nodes[picture.edges[e]!]!, picture.nodes[picture.edges[e + 1]!]!]
    const todo = child.status === "pending" || child.status === "skipped" || child.status === "cancelled"
    kinds.get(critical.has(parent.key) && critical.has(child.key) ? "hot" : todo ? "todo" : "")!.push(e)
  }
  for (const [kind, edges] of kinds) {
    context.strokeStyle = colour(kind === "hot" ? "text2" : "line2")
    context.lineWidth = kind === "hot" ? Math.max(1.7, 1.4 / k) : Math.max(1.2, 0.5 / k)
    context.setLineDash(kind === "todo" && curved ? [4, 3.5] : [])
    context.globalAlpha = kind === "hot" || curved ? 1 : 0.55
    context.beginPath()
    for (const e of edges) trace(e)
    context.stroke()
  }
  context.setLineDash([])
  context.globalAlpha = 1
}

/** The glyph of a node, and from nearby its name and what it does. */
function drawFace(context: CanvasRenderingContext2D, props: Props, colour: Colours, no: number): void {
  const node = props.picture.nodes[no]!
  const { tone } = stepLook(node.status)
  const [x, y] = [props.layout.x[no]!, props.layout.y[no]!]
  const names = props.view.k >= NAMES
  drawGlyph(context, node.status, colour(tone), colour("surface"), x + 18, y + (names ? 18 : props.height / 2), names ? 6 : 12)
  if (!names) return
  context.font = `500 11.5px ${fontOf()}`
  context.fillStyle = colour("text")
  context.fillText(shorten(node.name, NODE_WIDTH - 40), x + 31, y + 22)
  context.font = `400 11px ${fontOf()}`
  context.fillStyle = colour(tone === "ok" || tone === "idle" ? "text3" : tone)
  context.fillText(shorten(props.captionOf(node.key), NODE_WIDTH - 40), x + 31, y + 39)
}

let font = ""
function fontOf(): string {
  return (font ||= getComputedStyle(document.body).fontFamily)
}

/** A status by its shape, as the glyphs of the page have it. */
function drawGlyph(context: CanvasRenderingContext2D, status: string, colour: string, surface: string, x: number, y: number, r: number): void {
  const line = (...points: number[]) => {
    context.moveTo(x + points[0]! * r, y + points[1]! * r)
    for (let i = 2; i < points.length; i += 2) context.lineTo(x + points[i]! * r, y + points[i + 1]! * r)
  }
  const square = status === "waiting" || status === "resolved_manually"
  const filled = status === "complete" || status === "resolved_manually" || status === "error"
  context.fillStyle = context.strokeStyle = colour
  context.lineWidth = r / 4
  context.setLineDash(status === "pending" ? [r / 3, r / 3] : [])
  context.beginPath()
  if (status === "error") {
    line(-0.4, -1, 0.4, -1, 1, -0.4, 1, 0.4, 0.4, 1, -0.4, 1, -1, 0.4, -1, -0.4)
    context.closePath()
  } else if (square) context.roundRect(x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r, r / 3)
  else if (status !== "skipped") context.arc(x, y, 0.9 * r, 0, 2 * Math.PI)
  if (filled) context.fill()
  else context.stroke()
  context.setLineDash([])
  context.strokeStyle = filled ? surface : colour
  context.beginPath()
  if (status === "error") line(-0.35, -0.35, 0.35, 0.35), line(0.35, -0.35, -0.35, 0.35)
  else if (filled) line(-0.4, 0.05, -0.1, 0.35, 0.45, -0.3)
  else if (status === "waiting") line(-0.25, -0.4, -0.25, 0.4), line(0.25, -0.4, 0.25, 0.4)
  else if (status === "waiting_for_retry") line(0, -0.5, 0, 0, 0.35, 0.25)
  else if (status === "in_progress") line(-0.2, -0.35, -0.2, 0.35, 0.4, 0, -0.2, -0.35)
  else if (status === "skipped") line(-0.7, -0.6, -0.1, 0, -0.7, 0.6), line(0.1, -0.6, 0.7, 0, 0.1, 0.6)
  else if (status === "cancelled") line(-0.6, 0.6, 0.6, -0.6)
  context.stroke()
}

let ruler: CanvasRenderingContext2D | undefined

/** A text of a node without so much of its middle that it is at most `room` wide. */
export function shorten(text: string, room: number): string {
  if (text.length < 13) return text
  ruler ??= document.createElement("canvas").getContext("2d")!
  ruler.font = `500 11.5px ${fontOf()}`
  let shown = text
  for (let kept = Math.min(text.length - 9, 40); kept && ruler.measureText(shown).width > room; kept--) shown = `${text.slice(0, kept)}…${text.slice(-8)}`
  return shown
}
