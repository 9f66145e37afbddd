// Data that a page shows: loaded, kept while it is reloaded, and repeated while the page is looked at.
import { signal } from "@preact/signals"
import { useEffect, useRef, useState } from "preact/hooks"
import { Problem } from "../api/client.ts"

/** Whether pages update by themselves; `.` switches it off. */
export const live = signal(true)

export interface Resource<T> {
  data: T | null
  problem: Problem | null
  loading: boolean
  reload: () => void
}

interface State<T> {
  key: string
  data: T | null
  problem: Problem | null
  loading: boolean
}

/**
 * Load data whenever `key` changes, and every `every` milliseconds while the page is visible.
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

  useEffect(() => {
    const abort = new AbortController()
    let timer: ReturnType<typeof setTimeout> | undefined
    setState((before) => (before.key === key ? { ...before, loading: true } : { key, data: null, problem: null, loading: true }))
    const run = async () => {
      busy.current = { key, again: false }
      try {
        const data = await loader.current(abort.signal)
        if (abort.signal.aborted) return
        setState({ key, data, problem: null, loading: false })
      } catch (error) {
        if (abort.signal.aborted) return
        const problem = error instanceof Problem ? error : new Problem(0, "unexpected", String(error))
        setState((before) => ({ ...before, problem, loading: false }))
      }
      const again = busy.current.again
      busy.current = null
      if (again) void run()
      else schedule()
    }
    const schedule = () => {
      if (every === null || abort.signal.aborted) return
      timer = setTimeout(() => (document.hidden || !live.peek() ? schedule() : void run()), every)
    }
    void run()
    return () => {
      abort.abort()
      busy.current = null
      clearTimeout(timer)
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
  }
}
