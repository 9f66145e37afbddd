// Settings: who the viewer is, what it may do, how pages look, and the keys of the store.
import { useState } from "preact/hooks"
import { get, may, session } from "../api/client.ts"
import type { ApiKey, ApiKeyList } from "../api/types.ts"
import { Button, Empty, Failed, Loading, Time } from "../parts/bits.tsx"
import { logOut, Top } from "../parts/shell.tsx"
import { useResource } from "../state/resource.ts"
import { enableSingleKeys, singleKeysEnabled } from "../state/keys.ts"
import { setTheme, theme, type Theme } from "../state/shell.ts"
import { ago, setZone, zone } from "../state/time.ts"

export function Settings() {
  const view = session.value!
  const spaces = Object.entries(view.permissions)
  return (
    <>
      <Top crumbs={[["Settings", null]]} />
      <div class="page">
        <div class="ph"><h1>Settings</h1></div>
        <div class="two-cols">
          <section class="panel flat">
            <header><h2>Session</h2>{view.csrf && <><span class="sp" /><Button small onClick={() => void logOut()}>Log out</Button></>}</header>
            <dl class="pad">
              <dt>Name</dt><dd>{view.auth ? view.name : "No login is required on this server"}</dd>
              <dt>Team</dt><dd>{view.team ?? "–"}</dd>
              <dt>Roles</dt><dd>{view.roles.join(", ") || "–"}</dd>
              <dt>Groups</dt><dd>{view.groups.includes("*") ? "all" : view.groups.join(", ") || "–"}</dd>
              {view.expires_at && <><dt>Expires</dt><dd><Time at={view.expires_at} /></dd></>}
              <dt>Server</dt><dd>Tasker {view.version}</dd>
            </dl>
          </section>
          <Appearance />
        </div>
        <section class="panel flat">
          <header><h2>Permissions</h2><span class="muted">by namespace</span></header>
          <div class="scroll-x">
            <table>
              <thead><tr><th>Namespace</th><th>Permissions</th></tr></thead>
              <tbody>{spaces.map(([space, held]) => <tr class="row" key={space}><td>{space === "*" ? "all" : space}</td><td class="wrap sec">{grouped(held)}</td></tr>)}</tbody>
            </table>
          </div>
        </section>
        {may("keys:read") && <Keys />}
      </div>
    </>
  )
}

/** Permissions by resource: `tasks: create, read`. */
function grouped(permissions: string[]): string {
  const groups = new Map<string, string[]>()
  for (const one of permissions) {
    const [resource, action] = one.split(":") as [string, string]
    groups.set(resource, [...(groups.get(resource) ?? []), action])
  }
  return [...groups].map(([resource, actions]) => `${resource}: ${actions.join(", ")}`).join(" · ")
}

const THEMES: Record<Theme, string> = { system: "System", light: "Light", dark: "Dark" }

function Appearance() {
  const [keys, setKeys] = useState(singleKeysEnabled())
  return (
    <section class="panel flat">
      <header><h2>Appearance</h2><span class="muted">stored in this browser</span></header>
      <dl class="pad controls">
        <dt id="set-theme">Theme</dt>
        <dd><span class="seg" role="group" aria-labelledby="set-theme">{Object.entries(THEMES).map(([key, label]) => <button type="button" key={key} aria-pressed={theme.value === key} onClick={() => setTheme(key as Theme)}>{label}</button>)}</span></dd>
        <dt id="set-zone">Times</dt>
        <dd><span class="seg" role="group" aria-labelledby="set-zone">{(["utc", "local"] as const).map((key) => <button type="button" key={key} aria-pressed={zone.value === key} onClick={() => setZone(key)}>{key === "utc" ? "UTC" : `Local (${Intl.DateTimeFormat().resolvedOptions().timeZone})`}</button>)}</span></dd>
        <dt>Keyboard</dt>
        <dd><label><input type="checkbox" checked={keys} onChange={(event) => { enableSingleKeys(event.currentTarget.checked); setKeys(event.currentTarget.checked) }} /> Enable single-key shortcuts</label></dd>
      </dl>
    </section>
  )
}

function Keys() {
  const list = useResource("keys", (signal) => get<ApiKeyList>("/v1/keys", signal))
  const keys = list.data?.keys ?? []
  const state = (key: ApiKey) => (key.revoked_at ? "revoked" : key.expires_at && Date.parse(key.expires_at) < Date.now() ? "expired" : "active")
  return (
    <section class="panel flat">
      <header><h2>API keys</h2><span class="muted">created with tasker key create on a machine with access to the store</span></header>
      {list.problem ? <Failed problem={list.problem} what="the keys" reload={list.reload} /> : !list.data ? <Loading what="the keys" /> : keys.length === 0 ? (
        <Empty icon="approve" title="No API keys" command="tasker key create NAME --role operator --namespace NAMESPACE">People and programs authenticate with API keys. A key is shown only once, when it is created.</Empty>
      ) : (
        <div class="scroll-x">
          <table>
            <thead><tr><th>Key</th><th>Name</th><th class="narrow-hide">Roles</th><th class="narrow-hide">Namespaces</th><th>Status</th><th class="num">Last used</th></tr></thead>
            <tbody>
              {keys.map((key) => (
                <tr class="row" key={key.prefix}>
                  <td class="mono">{key.prefix}…</td><td class="strong">{key.name}</td>
                  <td class="narrow-hide sec">{[...key.roles, ...key.scopes].join(", ")}</td>
                  <td class="narrow-hide sec">{key.namespaces.join(", ")}</td>
                  <td class={state(key) === "active" ? "s-ok" : "muted"}>{state(key)}</td>
                  <td class="num sec">{key.last_used_at ? <Time at={key.last_used_at}>{ago(key.last_used_at)}</Time> : "never"}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  )
}
