// The graph of a task: nodes and edges in SVG, of which only what is in sight is drawn; on a canvas where that is much.
import { useEffect, useMemo, useRef, useState } from "preact/hooks"
import type { Picture, StepNode } from "../state/picture.ts"
import { ranFor } from "../state/picture.ts"
import { useKeys } from "../state/keys.ts"
import { useLater } from "../state/later.ts"
import { countdown, duration } from "../state/time.ts"
import { stepLook } from "../status.ts"
import { IconButton } from "../parts/bits.tsx"
import { Glyph, GlyphShape } from "../parts/icons.tsx"
import { CanvasGraph, shorten, type View } from "./canvas.tsx"
import { layOut } from "./lay_out.ts"
import { NODE_WIDTH, type Layout } from "./layout.ts"
import { Minimap } from "./minimap.tsx"
import { endsOf, withoutMirror } from "./mirror.ts"
import { Places } from "./places.ts"

const HEIGHT = 54
const MAPPED = 100 // nodes from which a small map is shown
const MARGIN = 16
const ELEMENTS = 300 // nodes in sight above which the graph is drawn on a canvas
const FARTHEST = 0.04 // zoom at which a graph that is larger than the page begins
const DETAILS = 0.45 // zoom below which nodes are blocks without text
const LEGEND = ["complete", "in_progress", "waiting_for_retry", "enqueued", "waiting", "error", "pending", "skipped", "cancelled"]

interface Props {
  picture: Picture
  selected: string | null
  critical: ReadonlySet<string>
  now: number
  /** What is shown below the names in place of what the steps do. */
  captions?: ReadonlyMap<string, string>
  /** Whether nodes have the colours of their statuses although captions are given. */
  toned?: boolean
  /** Name of the files in which the graph can be saved; none: it cannot. */
  fileName?: string
  select: (key: string | null) => void
}

export function GraphView(props: Props) {
  const { picture } = props
  const later = useLater(props.fileName !== undefined)
  const box = useRef<HTMLDivElement>(null)
  const [size, setSize] = useState({ width: 800, height: 246 })
  const [placed, setPlaced] = useState<{ shape: string; layout: Layout } | null>(null)
  const [view, setView] = useState<View | null>(null)
  const shape = useMemo(() => `${picture.nodes.map((node) => node.key).join()}|${picture.edges.join()}`, [picture])

  useEffect(
    () => {
      const { graph, mirror } = withoutMirror(picture.nodes, picture.edges, HEIGHT)
      return layOut(graph, (layout) => {
        setPlaced({ shape, layout: mirror(layout) })
        setView(null)
      })
    },
    [shape],
  )
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => {
      if (entry) setSize({ width: entry.contentRect.width, height: entry.contentRect.height })
    })
    if (box.current) observer.observe(box.current)
    return () => observer.disconnect()
  }, [])

  const layout = placed?.layout
  const fitted = layout ? fit(layout, size) : { x: 0, y: 0, k: 1 }
  const at = view ?? fitted
  const places = useMemo(() => (layout ? new Places(layout, HEIGHT) : null), [layout])
  const inSight = places?.within(-at.x / at.k - 40, -at.y / at.k - 40, (size.width - at.x) / at.k + 40, (size.height - at.y) / at.k + 40) ?? []
  const captionOf = (key: string) => props.captions?.get(key) ?? caption(picture.byKey.get(key)!, props.now)
  const zoom = (by: number, centre = { x: size.width / 2, y: size.height / 2 }) => {
    const k = Math.min(2, Math.max(Math.min(fitted.k, FARTHEST), at.k * by))
    setView({ k, x: centre.x - ((centre.x - at.x) * k) / at.k, y: centre.y - ((centre.y - at.y) * k) / at.k })
  }
  useEffect(() => {
    const element = box.current
    if (!element) return
    const onWheel = (event: WheelEvent) => {
      if (!event.ctrlKey && !event.metaKey) return
      event.preventDefault()
      const rect = element.getBoundingClientRect()
      zoom(Math.exp(-event.deltaY / 300), { x: event.clientX - rect.left, y: event.clientY - rect.top })
    }
    element.addEventListener("wheel", onWheel, { passive: false })
    return () => element.removeEventListener("wheel", onWheel)
  })
  const chosen = layout && props.selected !== null ? picture.nodes.findIndex((node) => node.key === props.selected) : -1
  useKeys(chosen < 0 ? {} : {
    z: () => setView({ k: 1, x: size.width / 2 - layout!.x[chosen]! - NODE_WIDTH / 2, y: size.height / 2 - layout!.y[chosen]! - HEIGHT / 2 }),
  })
  const drag = useRef<{ x: number; y: number; view: View; moved: boolean } | null>(null)

  const present = new Set(picture.nodes.map((node) => node.status))
  return (
    <div
      class="canvas"
      ref={box}
      onPointerDown={(event) => {
        if ((event.target as Element).closest(".node, button")) return
        delete event.currentTarget.dataset["moved"]
        drag.current = { x: event.clientX, y: event.clientY, view: at, moved: false }
        event.currentTarget.setPointerCapture(event.pointerId)
      }}
      onPointerMove={(event) => {
        const from = drag.current
        if (!from) return
        const [dx, dy] = [event.clientX - from.x, event.clientY - from.y]
        if (Math.abs(dx) + Math.abs(dy) > 3) from.moved = true
        event.currentTarget.dataset["moved"] = from.moved ? "yes" : ""
        if (from.moved) setView({ ...from.view, x: from.view.x + dx, y: from.view.y + dy })
      }}
      onPointerUp={() => {
        if (drag.current && !drag.current.moved) props.select(null)
        drag.current = null
      }}
    >
      {layout && places && placed.shape === shape && (inSight.length > ELEMENTS ? (
        <CanvasGraph
          picture={picture}
          layout={layout}
          places={places}
          height={HEIGHT}
          view={at}
          size={size}
          critical={props.critical}
          selected={props.selected}
          captionOf={captionOf}
          select={props.select}
        />
      ) : (
        <svg class="dag" width={size.width} height={size.height} role="group" aria-label={`Graph of ${picture.nodes.length} steps`}>
          <g transform={`translate(${at.x} ${at.y}) scale(${at.k})`}>
            <Edges picture={picture} layout={layout} view={at} size={size} critical={props.critical} />
            {withSelected(picture, inSight, props.selected).map((no) => {
              const node = picture.nodes[no]!
              return (
                <Node
                  key={node.key}
                  node={node}
                  x={layout.x[no]!}
                  y={layout.y[no]!}
                  caption={captionOf(node.key)}
                  plain={props.captions !== undefined}
                  toned={props.toned ?? false}
                  selected={node.key === props.selected}
                  details={at.k >= DETAILS}
                  select={props.select}
                />
              )
            })}
          </g>
        </svg>
      ))}
      {!props.captions && <div class="key">
        {LEGEND.filter((status) => present.has(status)).map((status) => (
          <span key={status}><Glyph look={stepLook(status)} />{stepLook(status).label}</span>
        ))}
      </div>}
      {layout && placed.shape === shape && picture.nodes.length >= MAPPED && (
        <Minimap
          picture={picture}
          layout={layout}
          height={HEIGHT}
          sight={{ x: -at.x / at.k, y: -at.y / at.k, width: size.width / at.k, height: size.height / at.k }}
          go={(x, y) => setView({ k: at.k, x: size.width / 2 - x * at.k, y: size.height / 2 - y * at.k })}
        />
      )}
      <div class="zoom">
        {layout && props.fileName && later && <later.SaveMenu name={props.fileName} drawing={{ picture, layout, height: HEIGHT, curve, captionOf }} />}
        <IconButton icon="minus" label="Zoom out" onClick={() => zoom(1 / 1.3)} />
        <IconButton icon="plus" label="Zoom in" onClick={() => zoom(1.3)} />
        <IconButton icon="fit" label="Fit to view" onClick={() => setView(null)} />
      </div>
    </div>
  )
}

function fit(layout: Layout, size: { width: number; height: number }): View {
  const [width, height] = [size.width - 2 * MARGIN, size.height - 2 * MARGIN - 18]
  const k = Math.min(1, width / Math.max(layout.width, 1), height / Math.max(layout.height, 1))
  const legible = Math.max(k, FARTHEST, Math.min(0.62, width / Math.max(layout.width, 1) > 0.3 ? 0.62 : k))
  return {
    k: legible,
    x: MARGIN + Math.max(0, (width - layout.width * legible) / 2),
    y: MARGIN + Math.max(0, (height - layout.height * legible) / 2),
  }
}

/** The nodes in sight in the order of the steps, and the selected one wherever it is. */
function withSelected(picture: Picture, inSight: readonly number[], selected: string | null): number[] {
  const nodes = new Set(inSight)
  const at = selected === null ? -1 : picture.nodes.findIndex((node) => node.key === selected)
  if (at >= 0) nodes.add(at)
  return [...nodes].sort((a, b) => a - b)
}

interface EdgesProps {
  picture: Picture
  layout: Layout
  view: View
  size: { width: number; height: number }
  critical: ReadonlySet<string>
}

function Edges({ picture, layout, view, size, critical }: EdgesProps) {
  const paths = []
  for (let e = 0; e < picture.edges.length; e += 2) {
    const [from, to] = [picture.edges[e]!, picture.edges[e + 1]!]
    const [parent, child] = [picture.nodes[from]!, picture.nodes[to]!]
    const { x0, y0, x1, y1, back } = endsOf(layout, from, to, HEIGHT)
    const [left, right] = [Math.min(x0, x1) * view.k + view.x, Math.max(x0, x1) * view.k + view.x]
    const [top, bottom] = [Math.min(y0, y1) * view.k + view.y, Math.max(y0, y1) * view.k + view.y]
    if (right < -40 || left > size.width + 40 || bottom < -200 || top > size.height + 200) continue
    const hot = critical.has(parent.key) && critical.has(child.key)
    const todo = child.status === "pending" || child.status === "skipped" || child.status === "cancelled"
    paths.push(
      <path key={e} class={`edge${hot ? " hot" : ""}${todo ? " todo" : ""}`} d={curve([[x0, y0], ...(layout.bends[e / 2] ?? []), [x1, y1]])} />,
      <path key={`${e}h`} class={`head${hot ? " hot" : ""}`} d={back ? `M${x1 + 4} ${y1 - 4}L${x1 - 2} ${y1}L${x1 + 4} ${y1 + 4}` : `M${x1 - 4} ${y1 - 4}L${x1 + 2} ${y1}L${x1 - 4} ${y1 + 4}`} />,
    )
  }
  const byNo = new Map([...picture.nodes.entries()].map(([at, node]) => [node.no, at]))
  for (const [at, node] of picture.nodes.entries()) {
    const undone = node.undoes ? byNo.get(node.undoes) : undefined
    if (undone === undefined) continue
    const middle = layout.x[at]! + NODE_WIDTH / 2
    paths.push(<path key={`${node.key} undoes`} class="edge undo" d={`M${middle} ${layout.y[undone]! + HEIGHT}V${layout.y[at]! - 2}`} />)
    paths.push(<path key={`${node.key} undoes head`} class="head undo" d={`M${middle - 4} ${layout.y[at]! - 7}L${middle} ${layout.y[at]! - 2}L${middle + 4} ${layout.y[at]! - 7}`} />)
  }
  return <g aria-hidden="true">{paths}</g>
}

function curve(points: [number, number][]): string {
  let text = `M${points[0]![0]} ${points[0]![1]}`
  for (let i = 1; i < points.length; i++) {
    const [ax, ay] = points[i - 1]!
    const [bx, by] = points[i]!
    const middle = (ax + bx) / 2
    text += `C${middle} ${ay} ${middle} ${by} ${bx} ${by}`
  }
  return text
}

interface NodeProps {
  node: StepNode
  x: number
  y: number
  caption: string
  /** Whether the node has no status to be shown. */
  plain: boolean
  toned: boolean
  selected: boolean
  details: boolean
  select: (key: string) => void
}

function Node(props: NodeProps) {
  const { node, x, y } = props
  const look = stepLook(node.status)
  const ghost = node.status === "pending" || node.status === "skipped" || node.status === "cancelled"
  const room = NODE_WIDTH - (props.plain ? 22 : 40)
  const [name, second] = [shorten(node.name, room), shorten(props.caption, room)]
  const whole = [node.name, props.caption].filter((text) => text !== name && text !== second).join(", ")
  return (
    <g
      class={`node ${props.plain && !(props.toned && node.status !== "enqueued") ? "" : look.tone}${ghost ? " ghost" : ""}${node.group ? " many" : ""}`}
      tabIndex={0}
      role="button"
      aria-pressed={props.selected}
      aria-label={[props.details ? `${name} ${second}` : node.name, !props.plain && look.label, props.details && whole].filter(Boolean).join(", ")}
      data-step={node.key}
      onClick={() => props.select(node.key)}
      onKeyDown={(event) => {
        if (event.key !== "Enter" && event.key !== " ") return
        event.preventDefault()
        event.stopPropagation()
        props.select(node.key)
      }}
    >
      {whole && <title>{whole}</title>}
      {node.group && <rect class="box under" x={x + 4} y={y + 4} width={NODE_WIDTH} height={HEIGHT} rx={8} />}
      {props.selected && <rect class="halo" x={x - 3.5} y={y - 3.5} width={NODE_WIDTH + 7} height={HEIGHT + 7} rx={11} />}
      <rect class="box" x={x} y={y} width={NODE_WIDTH} height={HEIGHT} rx={8} />
      {props.details ? (
        <>
          {!props.plain && <GlyphShape status={node.status} x={x + 11} y={y + 11} />}
          <text class="nm" x={x + (props.plain ? 12 : 31)} y={y + 22}>{name}</text>{" "}
          <text class="sb" x={x + (props.plain ? 12 : 31)} y={y + 39}>{second}</text>
          {node.group && <GroupBar node={node} x={x + 11} y={y + HEIGHT - 9} />}
        </>
      ) : (
        <rect class="block" x={x + 8} y={y + 8} width={NODE_WIDTH - 16} height={HEIGHT - 16} rx={4} />
      )}
    </g>
  )
}

const TONES: Record<string, string> = { complete: "ok", resolved_manually: "ok", error: "err", in_progress: "run", waiting_for_retry: "retry", waiting: "park" }

function GroupBar(props: { node: StepNode; x: number; y: number }) {
  const group = props.node.group!
  const width = NODE_WIDTH - 22
  let at = props.x
  return (
    <g>
      {Object.entries(group.by_status).sort().map(([status, count]) => {
        const part = (width * count) / group.count
        at += part
        return <rect key={status} class={`b-${TONES[status] ?? "idle"}`} x={at - part} y={props.y} width={part} height={3} />
      })}
    </g>
  )
}

function caption(node: StepNode, now: number): string {
  if (node.group) {
    return Object.entries(node.group.by_status)
      .sort(([, a], [, b]) => b - a)
      .slice(0, 2)
      .map(([status, count]) => `${count.toLocaleString("en")} ${stepLook(status).label.toLowerCase()}`)
      .join(", ")
  }
  if (node.paused && node.status !== "complete") return "paused"
  switch (node.status) {
    case "waiting_for_retry":
      return `attempt ${node.countedAttempts + 1} of ${node.maxAttempts} in ${countdown((node.runAt ?? now) - now)}`
    case "error":
      return node.error?.code ?? node.error?.type ?? "failed"
    case "pending":
      return node.parents.length ? `waits for ${node.parents.length} ${node.parents.length === 1 ? "step" : "steps"}` : "pending"
    case "enqueued":
      return node.noWorker ? "no worker" : node.runAt !== null && node.runAt > now ? `in ${countdown(node.runAt - now)}` : "queued"
    case "waiting":
      return node.waitsFor ? "waits for a task" : node.runAt !== null && node.runAt > now ? `sleeping, ${countdown(node.runAt - now)}` : "waiting"
    case "skipped":
    case "cancelled":
      return stepLook(node.status).label.toLowerCase()
    default: {
      const ran = duration(ranFor(node, now))
      return node.attempts > 1 ? `${ran}, ${node.attempts} attempts` : ran
    }
  }
}
