// Data that a page shows: loaded, kept while it is reloaded, and repeated while the page is looked at.
import { signal } from "@preact/signals"
import { useEffect, useRef, useState } from "preact/hooks"
import { accepts, Problem } from "../api/client.ts"
import { acceptedAge, pauseAfter, restAfter } from "./pace.ts"

/** Whether pages update by themselves; `.` switches it off. */
export const live = signal(true)

export interface Resource<T> {
  data: T | null
  problem: Problem | null
  loading: boolean
  reload: () => void
  /** Load what has changed, at a pace that the server keeps up with. */
  follow: () => void
}

interface State<T> {
  key: string
  data: T | null
  problem: Problem | null
  loading: boolean
}

/**
 * Load data whenever `key` changes, and every `every` milliseconds while the page is visible, less often while
 * answers are slow. A hidden page asks nothing, and asks at once when it is looked at again.
 * What was loaded stays while it is loaded again, also when that fails.
 */
export function useResource<T>(
  key: string,
  load: (signal: AbortSignal) => Promise<T>,
  every: number | null = null,
): Resource<T> {
  const [state, setState] = useState<State<T>>({ key, data: null, problem: null, loading: true })
  const [turn, setTurn] = useState(0)
  const loader = useRef(load)
  loader.current = load
  const busy = useRef<{ key: string; again: boolean } | null>(null)
  const wake = useRef<() => void>(() => undefined)

  useEffect(() => {
    const abort = new AbortController()
    let timer: ReturnType<typeof setTimeout> | undefined
    let due = false // while the page is hidden
    let changed = false // while it is loaded
    let ended = 0
    let took = 0
    setState((before) => (before.key === key ? { ...before, loading: true } : { key, data: null, problem: null, loading: true }))
    const run = async () => {
      busy.current = { key, again: false }
      changed = false
      const began = performance.now()
      try {
        const data = await loader.current(abort.signal)
        if (abort.signal.aborted) return
        setState({ key, data, problem: null, loading: false })
      } catch (error) {
        if (abort.signal.aborted) return
        const problem = error instanceof Problem ? error : new Problem(0, "unexpected", String(error))
        setState((before) => ({ ...before, problem, loading: false }))
      }
      ended = performance.now()
      took = ended - began
      const again = busy.current.again
      busy.current = null
      accepts.delete(abort.signal)
      if (again) void run()
      else if (changed) after(restAfter(took))
      else schedule()
    }
    const after = (pause: number) => {
      clearTimeout(timer)
      timer = setTimeout(() => void run(), pause)
    }
    const schedule = () => {
      if (every !== null && !abort.signal.aborted) timer = setTimeout(repeat, pauseAfter(every, took))
    }
    const repeat = () => {
      if (every === null) return
      due = document.hidden
      if (due) return
      if (!live.peek()) return schedule()
      accepts.set(abort.signal, acceptedAge(every))
      void run()
    }
    const seen = () => {
      if (due && !document.hidden) repeat()
    }
    wake.current = () => {
      if (busy.current?.key === key) changed = true
      else if (!due) after(Math.max(0, ended + restAfter(took) - performance.now()))
    }
    document.addEventListener("visibilitychange", seen)
    void run()
    return () => {
      abort.abort()
      busy.current = null
      clearTimeout(timer)
      document.removeEventListener("visibilitychange", seen)
    }
  }, [key, every, turn])

  const fresh = state.key === key
  return {
    data: fresh ? state.data : null,
    problem: fresh ? state.problem : null,
    loading: fresh ? state.loading : true,
    reload: () => {
      if (busy.current?.key === key) busy.current.again = true // not in its place: answers that are slow would never arrive
      else setTurn((before) => before + 1)
    },
    follow: () => wake.current(),
  }
}
