// Follows an open task by its stream while the page is visible; each event asks for the picture again.
import { useEffect, useRef } from "preact/hooks"
import { base } from "../router.ts"
import { live } from "./resource.ts"

const AT_MOST_EVERY = 250 // milliseconds

export function useTaskStream(id: string, open: boolean, changed: () => void): void {
  const latest = useRef(changed)
  latest.current = changed
  const following = live.value
  useEffect(() => {
    if (!open || !following) return
    let source: EventSource | null = null
    let timer: ReturnType<typeof setTimeout> | undefined
    const note = () => {
      timer ??= setTimeout(() => {
        timer = undefined
        latest.current()
      }, AT_MOST_EVERY)
    }
    const connect = () => {
      if (document.hidden) {
        source?.close()
        source = null
      } else if (!source) {
        source = new EventSource(`${base}/v1/tasks/${id}/stream`)
        for (const kind of ["task", "step"]) source.addEventListener(kind, note)
        for (const kind of ["end", "problem"])
          source.addEventListener(kind, () => {
            note()
            source?.close()
          })
      }
    }
    connect()
    document.addEventListener("visibilitychange", connect)
    return () => {
      source?.close()
      clearTimeout(timer)
      document.removeEventListener("visibilitychange", connect)
    }
  }, [id, open, following])
}
