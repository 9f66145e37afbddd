// Calls the server's public API with the session cookie.
import { signal } from "@preact/signals"
import { base } from "../router.ts"
import { ownDrafts } from "../state/drafts.ts"
import type { SessionView } from "./types.ts"

export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    readonly more: Record<string, unknown> = {},
  ) {
    super(detail)
  }

  /** Whether the server could not be reached or could not do its work; a retry may help. */
  get temporary(): boolean {
    return this.status === 0 || this.status >= 500 || this.status === 429
  }
}

export const session = signal<SessionView | null>(null)

/** Why someone who was logged in is not any more; null if they are, or never were. */
export const lost = signal<string | null>(null)

/** When the server last answered, and what went wrong since. */
export const connection = signal<{ answeredAt: number; problem: Problem | null }>({ answeredAt: Date.now(), problem: null })

/** How far the server's clock is ahead of this one, in milliseconds. */
export const clockOffset = signal(0)

export function now(): number {
  return Date.now() + clockOffset.value
}

/** Seconds of age that answers to the requests of a signal may have; otherwise they are new. */
export const accepts = new WeakMap<AbortSignal, number>()

interface Options {
  body?: unknown
  /** The ETag that the object must have. */
  ifMatch?: string | undefined
  /** The ETag of what the caller has. */
  ifNoneMatch?: string | undefined
  signal?: AbortSignal | undefined
}

export async function call<T>(method: string, path: string, options: Options = {}): Promise<T> {
  const response = await send(method, path, options)
  return (response.status === 204 ? null : await response.json()) as T
}

/** What was read, and its ETag. */
export interface Known<T> {
  etag: string | null
  data: T
}

/** Read what has changed since it was read before; null: nothing. */
export async function getChanged<T>(path: string, known: Known<T> | null, signal?: AbortSignal): Promise<Known<T> | null> {
  const response = await send("GET", path, { signal, ifNoneMatch: known?.etag ?? undefined })
  return response.status === 304 ? null : { etag: response.headers.get("ETag"), data: (await response.json()) as T }
}

async function send(method: string, path: string, options: Options): Promise<Response> {
  const headers: Record<string, string> = { Accept: "application/json" }
  const csrf = session.peek()?.csrf
  if (csrf && method !== "GET") headers["X-CSRF"] = csrf
  const age = options.signal ? accepts.get(options.signal) : undefined
  if (age) headers["Cache-Control"] = `max-age=${age}`
  if (options.ifMatch) headers["If-Match"] = `"${options.ifMatch}"`
  if (options.ifNoneMatch) headers["If-None-Match"] = options.ifNoneMatch
  if (options.body !== undefined) headers["Content-Type"] = "application/json"
  let response: Response
  try {
    response = await fetch(base + path, {
      method,
      headers,
      body: options.body === undefined ? null : JSON.stringify(options.body),
      signal: options.signal ?? null,
      credentials: "same-origin",
    })
  } catch (error) {
    if (options.signal?.aborted) throw error
    const problem = new Problem(0, "unreachable", "The server is not responding.")
    connection.value = { ...connection.peek(), problem }
    throw problem
  }
  if (response.ok || response.status === 304) {
    connection.value = { answeredAt: Date.now(), problem: null }
    return response
  }
  throw await problemOf(response)
}

async function problemOf(response: Response): Promise<Problem> {
  let body: Record<string, unknown> = {}
  try {
    body = (await response.json()) as Record<string, unknown>
  } catch {
    // a proxy in between answered something else
  }
  const problem = new Problem(
    response.status,
    typeof body["code"] === "string" ? body["code"] : `http_${response.status}`,
    typeof body["detail"] === "string" ? body["detail"] : `The server responded with status ${response.status}.`,
    body,
  )
  if (problem.status === 401 && session.peek()?.name) {
    lost.value = body["reason"] === "revoked" ? "Your key was revoked, so you were logged out." : "Your session has ended."
    session.value = { ...session.peek()!, name: null, csrf: null }
  }
  connection.value = problem.temporary
    ? { ...connection.peek(), problem }
    : { answeredAt: Date.now(), problem: null }
  return problem
}

export const get = <T>(path: string, signal?: AbortSignal): Promise<T> => call<T>("GET", path, { signal })
export const post = <T>(path: string, body: unknown = {}, ifMatch?: string): Promise<T> => call<T>("POST", path, { body, ifMatch })

export async function readSession(): Promise<SessionView> {
  const view = await get<SessionView>("/v1/session")
  clockOffset.value = Date.parse(view.now) - Date.now()
  if (view.name !== null) lost.value = null
  ownDrafts(view.name)
  session.value = view
  return view
}

/** Whether the viewer may use a permission in a namespace, or in any if none is given. */
export function may(permission: string, namespace?: string): boolean {
  const held = session.value?.permissions ?? {}
  const has = (space: string) => held[space]?.includes(permission) ?? false
  if (has("*")) return true
  return namespace === undefined ? Object.keys(held).some(has) : has(namespace)
}

export function queryOf(values: Record<string, string | number | null | undefined>): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(values))
    if (value !== null && value !== undefined && value !== "") query.set(name, String(value))
  const text = query.toString()
  return text ? `?${text}` : ""
}
