// Named filters of the list of tasks, which the browser keeps for each viewer.
import { FILTERS } from "./filters.ts"

export interface SavedView {
  name: string
  query: string
}

export const MOST_VIEWS = 50
export const LONGEST_NAME = 60
const KEYS = ["status", "namespace", ...FILTERS.map(({ key }) => key), "created_after", "created_before"]

/** The filters in a page's query, in an order of their own. */
export function filtersOf(query: URLSearchParams): string {
  const kept = new URLSearchParams()
  for (const key of KEYS) {
    const value = query.get(key)
    if (value) kept.set(key, value)
  }
  return kept.toString()
}

/** Read what was stored; what is not a view is left out. */
export function parseViews(text: string | null): SavedView[] {
  try {
    const stored: unknown = JSON.parse(text ?? "[]")
    return Array.isArray(stored) ? stored.filter(isView).map(({ name, query }) => ({ name, query: filtersOf(new URLSearchParams(query)) })) : []
  } catch {
    return []
  }
}

function isView(one: unknown): one is SavedView {
  return typeof one === "object" && one !== null && typeof (one as SavedView).name === "string" && typeof (one as SavedView).query === "string"
}

export function without(views: readonly SavedView[], name: string): SavedView[] {
  return views.filter((view) => view.name !== name)
}

/** The views with another one, by name; it replaces the one with the same name. */
export function withView(views: readonly SavedView[], view: SavedView): SavedView[] {
  return [...without(views, view.name), view].sort((a, b) => a.name.localeCompare(b.name))
}
