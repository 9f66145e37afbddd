// Parts of the UI that are loaded after the first paint, when something of them is needed.
import { signal, type ReadonlySignal } from "@preact/signals"
import { useEffect } from "preact/hooks"

export interface Part<T> {
  readonly loaded: ReadonlySignal<T | null>
  /** Whether it could not be loaded. */
  readonly missing: ReadonlySignal<boolean>
  readonly load: () => void
}

function partOf<T>(fetchPart: () => Promise<T>): Part<T> {
  const loaded = signal<T | null>(null)
  const missing = signal(false)
  const load = () => {
    missing.value = false
    if (!loaded.peek()) fetchPart().then((part) => (loaded.value = part), () => (missing.value = true))
  }
  return { loaded, missing, load }
}

export const operatePart = partOf(() => import("../views/operate.ts"))
export const taskPart = partOf(() => import("../views/task.tsx"))

/** Load a part if it is wanted; null until it is there. */
export function usePart<T>(part: Part<T>, wanted = true): T | null {
  useEffect(() => {
    if (wanted) part.load()
  }, [part, wanted])
  return part.loaded.value
}

export type LaterPart = typeof import("../views/operate.ts")

export const useLater = (wanted = true): LaterPart | null => usePart(operatePart, wanted)
