// A small map of a large graph: where one is, and a click to go elsewhere.
import { useLayoutEffect, useRef } from "preact/hooks"
import type { Picture } from "../state/picture.ts"
import { stepLook } from "../status.ts"
import { useColours } from "./colours.ts"
import { NODE_WIDTH, type Layout } from "./layout.ts"

const SIZE = { width: 168, height: 96 }

interface Props {
  picture: Picture
  layout: Layout
  height: number
  /** The part in sight, in the graph's coordinates. */
  sight: { x: number; y: number; width: number; height: number }
  /** Move the middle of what is in sight. */
  go: (x: number, y: number) => void
}

export function Minimap(props: Props) {
  const { picture, layout, sight, height } = props
  const k = Math.min(SIZE.width / Math.max(layout.width, 1), SIZE.height / Math.max(layout.height, 1))
  const canvas = useRef<HTMLCanvasElement>(null)
  const colour = useColours()
  useLayoutEffect(() => {
    const context = canvas.current!.getContext("2d")!
    context.setTransform(2, 0, 0, 2, 0, 0)
    context.clearRect(0, 0, SIZE.width, SIZE.height)
    for (const failed of [false, true])
      for (const [no, node] of picture.nodes.entries()) {
        if ((node.status === "error") !== failed) continue
        const least = failed ? 2 : 1
        context.fillStyle = colour(stepLook(node.status).tone)
        context.fillRect(layout.x[no]! * k, layout.y[no]! * k, Math.max(least, NODE_WIDTH * k), Math.max(least, height * k))
      }
  }, [picture, layout, colour])
  return (
    <div
      class="minimap"
      aria-hidden="true"
      onPointerDown={(event) => {
        event.stopPropagation()
        const box = event.currentTarget.getBoundingClientRect()
        props.go((event.clientX - box.left) / k, (event.clientY - box.top) / k)
      }}
    >
      <canvas ref={canvas} width={2 * SIZE.width} height={2 * SIZE.height} style={{ width: `${SIZE.width}px`, height: `${SIZE.height}px` }} />
      <i class="sight" style={{ left: `${sight.x * k}px`, top: `${sight.y * k}px`, width: `${Math.max(3, sight.width * k)}px`, height: `${Math.max(3, sight.height * k)}px` }} />
    </div>
  )
}
