// The address is the state of a page: path, filters, sort, selection.
import { signal } from "@preact/signals"

export const base = document.querySelector<HTMLMetaElement>('meta[name="tasker-base"]')?.content ?? ""
const root = `${base}/ui`

export interface Route {
  readonly path: string
  readonly query: URLSearchParams
}

function current(): Route {
  const path = location.pathname.startsWith(root) ? location.pathname.slice(root.length) : "/"
  return { path: path || "/", query: new URLSearchParams(location.search) }
}

export const route = signal<Route>(current())

/** The address of a page of the UI. */
export function href(path: string): string {
  return root + path
}

export function navigate(path: string, options: { replace?: boolean } = {}): void {
  if (options.replace) history.replaceState(null, "", href(path))
  else history.pushState(null, "", href(path))
  const before = route.value.path
  route.value = current()
  if (before !== route.value.path) document.querySelector(".page, .left")?.scrollTo(0, 0)
}

/** Change parts of the query; null or "" removes one. Typing replaces the entry in the history. */
export function setQuery(changes: Record<string, string | null>, options: { replace?: boolean } = {}): void {
  const query = new URLSearchParams(route.value.query)
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") query.delete(name)
    else query.set(name, value)
  }
  navigate(withQuery(route.value.path, query), options)
}

export function withQuery(path: string, query: URLSearchParams): string {
  const text = query.toString()
  return text ? `${path}?${text}` : path
}

export function startRouter(): void {
  addEventListener("popstate", () => {
    route.value = current()
  })
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return
    const link = (event.target as Element).closest("a")
    if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return
    if (!link.pathname.startsWith(`${root}/`)) return
    event.preventDefault()
    navigate(link.pathname.slice(root.length) + link.search)
  })
}

/** The parts of a path that match a pattern such as `/tasks/:id`, or null. */
export function match(pattern: string, path: string): Record<string, string> | null {
  const names = pattern.replace(/\/$/, "").split("/")
  const parts = path.replace(/\/$/, "").split("/")
  if (names.length !== parts.length) return null
  const values: Record<string, string> = {}
  for (const [no, name] of names.entries()) {
    const part = decodeURIComponent(parts[no] ?? "")
    if (name.startsWith(":")) values[name.slice(1)] = part
    else if (name !== part) return null
  }
  return values
}
