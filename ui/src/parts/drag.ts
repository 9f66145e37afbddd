// A span that is dragged over an element.
import { useState } from "preact/hooks"

type Ends = [begun: number, reached: number]

/**
 * Return the span while it is dragged, the lower end first, and the element's handlers.
 * @param positionOf the position of the pointer on the element
 * @param choose is called with the span when the pointer is released
 */
export function useDraggedSpan(positionOf: (event: PointerEvent) => number, choose: (from: number, to: number) => void) {
  const [ends, setEnds] = useState<Ends | null>(null)
  const span = ends && ([Math.min(...ends), Math.max(...ends)] as const)
  const handlers = {
    onPointerDown: (event: PointerEvent) => {
      ;(event.currentTarget as Element).setPointerCapture(event.pointerId)
      setEnds([positionOf(event), positionOf(event)])
    },
    onPointerMove: (event: PointerEvent) => ends && setEnds([ends[0], positionOf(event)]),
    onPointerUp: () => {
      setEnds(null)
      if (span) choose(...span)
    },
    onPointerCancel: () => setEnds(null),
  }
  return { span, handlers }
}
