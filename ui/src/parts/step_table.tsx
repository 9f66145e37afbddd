// The steps of a task as a table; only the rows in sight exist.
import { useEffect, useRef, useState } from "preact/hooks"
import { ranFor, type Picture } from "../state/picture.ts"
import { duration } from "../state/time.ts"
import { stepLook } from "../status.ts"
import { Glyph } from "./icons.tsx"

const ROW = 31
const HEAD = 31

interface Props {
  picture: Picture
  selected: string | null
  now: number
  select: (key: string) => void
}

export function StepTable(props: Props) {
  const { nodes } = props.picture
  const scroller = useRef<HTMLDivElement>(null)
  const [box, setBox] = useState({ top: 0, height: 600 })
  useEffect(() => {
    const element = scroller.current
    if (!element) return
    const observer = new ResizeObserver(() => setBox((before) => ({ ...before, height: element.clientHeight })))
    observer.observe(element)
    return () => observer.disconnect()
  }, [])
  useEffect(() => {
    const at = nodes.findIndex((node) => node.key === props.selected)
    const element = scroller.current
    if (at < 0 || !element) return
    const top = at * ROW
    if (top < element.scrollTop) element.scrollTop = top
    else if (top + ROW + HEAD > element.scrollTop + element.clientHeight) element.scrollTop = top + ROW + HEAD - element.clientHeight
  }, [props.selected])
  const first = Math.max(0, Math.floor(box.top / ROW) - 6)
  const last = Math.min(nodes.length, first + Math.ceil(box.height / ROW) + 12)
  return (
    <div class="tbl" ref={scroller} tabIndex={0} role="group" aria-label="Steps" onScroll={() => setBox((before) => ({ ...before, top: scroller.current?.scrollTop ?? 0 }))}>
      <table class="fixed" aria-rowcount={nodes.length + 1}>
        <colgroup><col class="w-no" /><col /><col class="w-status" /><col class="w-took" /><col class="w-took" /><col class="w-took" /><col class="w-worker wide" /><col class="w-err" /></colgroup>
        <thead>
          <tr aria-rowindex={1}><th class="num">No.</th><th>Step</th><th>Status</th><th class="num">Attempts</th><th class="num">Started</th><th class="num">Ran</th><th class="wide">Worker</th><th>Error</th></tr>
        </thead>
        <tbody>
          {first > 0 && <tr aria-hidden="true" class="gap-row"><td colSpan={8} style={{ height: `${first * ROW}px` }} /></tr>}
          {nodes.slice(first, last).map((node, no) => {
            const look = stepLook(node.status)
            const ran = ranFor(node, props.now)
            const started = node.history[0]?.claimed ?? node.claimed
            return (
              <tr
                key={node.key}
                aria-rowindex={first + no + 2}
                class={`row${node.key === props.selected ? " cur" : ""}`}
                data-step={node.key}
                onClick={() => props.select(node.key)}
              >
                <td class="num muted">{node.no}</td>
                <td title={node.name}><button type="button" class="name">{node.name}</button></td>
                <td class="st"><Glyph look={look} />{look.label}</td>
                <td class="num">{node.group ? "" : `${node.countedAttempts}/${node.maxAttempts}`}</td>
                <td class="num sec">{started === null ? "–" : `+${duration(started / 1000)}`}</td>
                <td class="num">{ran > 0 ? duration(ran) : "–"}</td>
                <td class="wide sec">{node.worker}</td>
                <td class="c-err" title={node.error?.message ?? ""}>{node.error ? (node.error.code ?? node.error.type) : ""}</td>
              </tr>
            )
          })}
          {last < nodes.length && <tr aria-hidden="true" class="gap-row"><td colSpan={8} style={{ height: `${(nodes.length - last) * ROW}px` }} /></tr>}
        </tbody>
      </table>
    </div>
  )
}
