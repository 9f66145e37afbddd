// What someone has entered and not sent yet. It outlives the login page, which replaces all others when a session ends.
import { useState } from "preact/hooks"
import { route } from "../router.ts"

const kept = new Map<string, unknown>()
let owner: string | null = null

/** A state that is there again when its form is shown again on the same page, until it is forgotten. */
export function useDraft<T>(form: string, name: string, initial: T): [T, (value: T) => void] {
  const key = `${route.value.path}\n${form}\n${name}`
  const [value, setValue] = useState<T>(() => (kept.has(key) ? (kept.get(key) as T) : initial))
  const set = (next: T) => {
    kept.set(key, next)
    setValue(next)
  }
  return [value, set]
}

/** Forget what was entered in a form: it was sent, or closed. */
export function forgetDraft(form: string): void {
  const prefix = `${route.value.path}\n${form}\n`
  for (const key of kept.keys()) if (key.startsWith(prefix)) kept.delete(key)
}

/** Note who is logged in: drafts of someone else are deleted. */
export function ownDrafts(name: string | null): void {
  if (name === null) return
  if (owner !== null && owner !== name) kept.clear()
  owner = name
}
