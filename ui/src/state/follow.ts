// One stream for all tabs of a browser: the tab that holds a lock follows the tasks of all, and passes
// changes on. Browsers allow six connections to a server, so a stream for each tab would block the seventh.
import { signal } from "@preact/signals"
import { useEffect, useRef } from "preact/hooks"
import { base } from "../router.ts"
import { live } from "./resource.ts"

const BEAT = 10_000 // milliseconds between two repetitions of what a tab follows
const FORGOTTEN = 35_000 // milliseconds after which a silent tab is forgotten
const AT_ONCE = 50 // milliseconds in which changes of what is followed are put together

type Message = { kind: "follows"; tab: string; tasks: string[] } | { kind: "changed"; task: string } | { kind: "state"; broken: boolean } | { kind: "leads" }

/** Whether the stream is interrupted; the browser connects again by itself. */
export const reconnecting = signal(false)

const tab = crypto.getRandomValues(new Uint32Array(2)).join("-")
const channel = new BroadcastChannel(`tasker${base}`)
const own = new Map<string, Set<() => void>>() // what this tab follows
const others = new Map<string, { tasks: string[]; at: number }>() // what other tabs follow; kept by the leader
let leads = false
let started = false
let source: EventSource | null = null
let followed = ""
let timer: ReturnType<typeof setTimeout> | undefined

const send = (message: Message) => channel.postMessage(message)
const announce = () => send({ kind: "follows", tab, tasks: [...own.keys()] })
const changed = (task: string) => own.get(task)?.forEach((listener) => listener())

function connect(): void {
  timer = undefined
  const old = Date.now() - FORGOTTEN
  for (const [name, other] of others) if (other.at < old) others.delete(name)
  const tasks = [...new Set([...own.keys(), ...[...others.values()].flatMap((other) => other.tasks)])].sort().slice(0, 50)
  const wanted = tasks.join()
  if (!leads || (wanted === followed && source?.readyState !== EventSource.CLOSED)) return
  followed = wanted
  source?.close()
  source = null
  if (tasks.length === 0) return setBroken(false)
  source = new EventSource(`${base}/v1/stream?${new URLSearchParams(tasks.map((task) => ["task", task]))}`)
  source.addEventListener("open", () => {
    setBroken(false)
    for (const task of tasks) pass(task) // what changed while there was no stream
  })
  source.addEventListener("error", () => {
    setBroken(true)
    if (source?.readyState === EventSource.CLOSED) setTimeout(connect, BEAT / 2)
  })
  for (const kind of ["change", "gone"]) source.addEventListener(kind, (event) => pass((JSON.parse(event.data) as { task: string }).task))
}

function pass(task: string): void {
  changed(task)
  send({ kind: "changed", task })
}

function setBroken(broken: boolean): void {
  reconnecting.value = broken
  send({ kind: "state", broken })
}

function soon(): void {
  if (leads) timer ??= setTimeout(connect, AT_ONCE)
}

function start(): void {
  if (started) return
  started = true
  channel.addEventListener("message", (event: MessageEvent<Message>) => {
    const message = event.data
    if (message.kind === "changed") changed(message.task)
    else if (message.kind === "state") reconnecting.value = message.broken
    else if (message.kind === "leads") announce()
    else if (leads) {
      others.set(message.tab, { tasks: message.tasks, at: Date.now() })
      soon()
    }
  })
  setInterval(() => {
    announce()
    soon()
  }, BEAT)
  addEventListener("pagehide", () => send({ kind: "follows", tab, tasks: [] }))
  const lead = () => {
    leads = true
    send({ kind: "leads" })
    soon()
    return new Promise<void>(() => undefined) // until the tab is closed
  }
  if (navigator.locks) void navigator.locks.request(`tasker.stream${base}`, lead)
  else void lead() // a page that is not secure: each tab has a stream of its own
}

/** Follow an open task while the page is visible. */
export function useTaskStream(id: string, open: boolean, reload: () => void): void {
  const latest = useRef(reload)
  latest.current = reload
  const following = live.value
  useEffect(() => {
    if (!open || !following) return
    start()
    const listener = () => latest.current()
    const follow = () => {
      const listeners = own.get(id) ?? new Set()
      if (document.hidden) listeners.delete(listener)
      else listeners.add(listener)
      if (listeners.size) own.set(id, listeners)
      else own.delete(id)
      announce()
      soon()
    }
    follow()
    document.addEventListener("visibilitychange", follow)
    return () => {
      document.removeEventListener("visibilitychange", follow)
      own.get(id)?.delete(listener)
      if (!own.get(id)?.size) own.delete(id)
      announce()
      soon()
    }
  }, [id, open, following])
}
