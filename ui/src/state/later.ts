// The part of the UI that is loaded after the first paint, when something of it is needed.
import { signal } from "@preact/signals"
import { useEffect } from "preact/hooks"

export type LaterPart = typeof import("../views/operate.ts")

export const later = signal<LaterPart | null>(null)

/** Whether it could not be loaded. */
export const missing = signal(false)

export function loadLater(): void {
  missing.value = false
  import("../views/operate.ts").then((loaded) => (later.value = loaded), () => (missing.value = true))
}

/** Load the part if it is wanted; null until it is there. */
export function useLater(wanted = true): LaterPart | null {
  useEffect(() => {
    if (wanted && !later.peek()) loadLater()
  }, [wanted])
  return later.value
}
