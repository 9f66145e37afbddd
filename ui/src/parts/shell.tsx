// The frame of all pages: navigation, path, search, theme, and whether what is shown is current.
import type { ComponentChildren } from "preact"
import { useEffect } from "preact/hooks"
import { call, connection, get, may, now, session } from "../api/client.ts"
import type { ApprovalList, NamespaceList } from "../api/types.ts"
import { href, navigate, route, setQuery } from "../router.ts"
import { reconnecting } from "../state/follow.ts"
import { live, useResource } from "../state/resource.ts"
import { useKeys } from "../state/keys.ts"
import { badges, helpOpen, namespaceOf, paletteOpen, toggleTheme, waiting } from "../state/shell.ts"
import { clock, setZone, tick, zone } from "../state/time.ts"
import { ENTRIES, visible, within, type Entry } from "./entries.ts"
import { Icon, Logo } from "./icons.tsx"
import { IconButton } from "./bits.tsx"
import { Menu } from "./menu.tsx"
import { Help, Palette } from "./palette.tsx"

const GOTO: Record<string, string> = {
  "g h": "/",
  "g t": "/tasks",
  "g f": "/failures",
  "g w": "/workflows",
  "g n": "/namespaces",
  "g k": "/workers",
  "g a": "/approvals",
  "g s": "/schedules",
  "g l": "/limits",
  "g e": "/events",
}

function isCurrent(entry: Entry, path: string): boolean {
  return entry.path === "/" ? path === "/" : path === entry.path || path.startsWith(`${entry.path}/`)
}

function NamespaceMenu() {
  const list = useResource("namespaces", (signal) => get<NamespaceList>("/v1/namespaces", signal))
  const chosen = namespaceOf()
  const face = <><Icon name="ns" /><span>{chosen ?? "All namespaces"}</span><small><Icon name="chev" /></small></>
  return (
    <Menu class="ns-box" button="ns" face={face}>
      {(close) => {
        const choose = (name: string | null) => {
          close()
          setQuery({ namespace: name })
        }
        return (
          <>
            <button type="button" onClick={() => choose(null)}>All namespaces</button>
            {list.data?.namespaces.map((space) => (
              <button type="button" key={space.name} onClick={() => choose(space.name)}>
                {space.name}
                <small>{space.policy?.owner_team}</small>
              </button>
            ))}
          </>
        )
      }}
    </Menu>
  )
}

function LiveMark() {
  tick.value
  const { problem, answeredAt } = connection.value
  const [kind, text] = problem
    ? ["stale", `Stale since ${clock(answeredAt)}`]
    : !live.value
      ? ["paused", "Paused"]
      : reconnecting.value
        ? ["stale", "Reconnecting"]
        : ["", "Live"]
  return (
    <div class="live">
      <button type="button" onClick={() => (live.value = !live.value)} title={problem?.detail ?? "Pause or resume updates (.)"}>
        <i class={kind} />
        {text}
      </button>
      <button type="button" class="sp muted" title="Switch between UTC and local time" onClick={toggleZone}>
        {clock(now())} {zone.value === "utc" ? "UTC" : "local"}
      </button>
    </div>
  )
}

function toggleZone(): void {
  setZone(zone.value === "utc" ? "local" : "utc")
}

export async function logOut(): Promise<void> {
  await call<null>("DELETE", "/v1/session")
  location.assign(href("/login"))
}

function Who() {
  const view = session.value
  if (!view) return null
  return (
    <div class="who">
      <Icon name="eye" />
      <b class="ell" title={view.name ?? ""}>{view.auth ? view.name : "No login required"}</b>
      {view.csrf ? (
        <button type="button" onClick={() => void logOut()}>Log out</button>
      ) : (
        <span class="role">{view.roles[0] ?? ""}</span>
      )}
    </div>
  )
}

/** Load the approvals that wait for the viewer: their number for the navigation, the first ones for the home page. */
function useWaiting(): void {
  const list = useResource(
    "approvals of the navigation",
    (signal) => (may("approvals:read") ? get<ApprovalList>("/v1/approvals?mine=true&limit=100", signal) : Promise.resolve({ approvals: [], next_cursor: null })),
    30_000,
  )
  useEffect(() => {
    if (!list.data) return
    waiting.value = list.data.approvals
    badges.value = { ...badges.peek(), "/approvals": list.data.approvals.length }
  }, [list.data])
}

export function Shell(props: { children: ComponentChildren }) {
  const { path } = route.value
  useWaiting()
  useKeys({
    "mod+k": () => (paletteOpen.value = true),
    "?": () => (helpOpen.value = true),
    ".": () => (live.value = !live.value),
    ...Object.fromEntries(Object.entries(GOTO).map(([keys, to]) => [keys, () => navigate(within(to))])),
  })
  return (
    <div class="app">
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById("main")?.focus() }}>Skip to content</a>
      <nav class="nav" aria-label="Main">
        <div class="brand"><Logo />Tasker</div>
        <NamespaceMenu />
        {ENTRIES.filter(visible).map((entry) => (
          <NavEntry key={entry.path} entry={entry} current={isCurrent(entry, path)} />
        ))}
        <div class="foot">
          <LiveMark />
          <Who />
        </div>
      </nav>
      <main class="main" id="main" tabIndex={-1}>{props.children}</main>
      {paletteOpen.value && <Palette onClose={() => (paletteOpen.value = false)} />}
      {helpOpen.value && <Help onClose={() => (helpOpen.value = false)} />}
    </div>
  )
}

function NavEntry(props: { entry: Entry; current: boolean }) {
  const { entry } = props
  const count = entry.badge ? badges.value[entry.path] : undefined
  return (
    <>
      {entry.heading && <h2>{entry.heading}</h2>}
      <a href={href(within(entry.path))} aria-current={props.current ? "page" : undefined}>
        <Icon name={entry.icon} />
        {entry.label}
        {count ? <span class={`n ${entry.badge === "bad" ? "bad" : ""}`}>{count.toLocaleString("en")}</span> : null}
      </a>
    </>
  )
}

/** The bar above a page: where it is, search, theme. */
export function Top(props: { crumbs: [label: string, path: string | null][] }) {
  const last = props.crumbs.length - 1
  useEffect(() => {
    document.title = `${props.crumbs[last]?.[0] ?? ""} · Tasker`
  })
  return (
    <div class="top">
      <nav class="crumb" aria-label="Path">
        {props.crumbs.map(([label, path], no) => (
          <span class={`crumb ell ${no > 0 && no < last ? "mid" : ""}`} key={no}>
            {no > 0 && <Icon name="right" />}
            {path && no < last ? <a href={href(path)}>{label}</a> : <b class="ell">{label}</b>}
          </span>
        ))}
      </nav>
      <button type="button" class="find" onClick={() => (paletteOpen.value = true)}>
        <Icon name="find" />
        <span>Search or jump to…</span>
        <kbd aria-hidden="true">{/Mac|iPhone/.test(navigator.platform) ? "⌘ K" : "Ctrl K"}</kbd>
      </button>
      <IconButton icon="theme" label="Switch between light and dark" onClick={toggleTheme} />
    </div>
  )
}
