// Limits: how much may run under a key, how much does, what waits for it, and who set it.
import { useState } from "preact/hooks"
import { call, get, may, post, queryOf } from "../api/client.ts"
import type { LimitList, LimitSettingView, LimitView, NamespaceList } from "../api/types.ts"
import { ActionDialog, quoted, withReason, type Action } from "../parts/action.tsx"
import { Button, Empty, Failed, Loading, Meter, Stale, Time } from "../parts/bits.tsx"
import { Top } from "../parts/shell.tsx"
import { refusal } from "../state/actions.ts"
import { fieldOf } from "../state/forms.ts"
import { useResource } from "../state/resource.ts"
import { namespaceOf } from "../state/shell.ts"
import { ago } from "../state/time.ts"

const EVERY = 5_000
const SPACES = 20 // namespaces whose limits are read if none is chosen

interface Setting extends LimitSettingView {
  namespace: string
}

interface Loaded {
  limits: LimitView[]
  settings: Setting[]
}

async function load(namespace: string | null, signal: AbortSignal): Promise<Loaded> {
  const spaces = namespace ? [namespace] : may("namespaces:read") ? (await get<NamespaceList>("/v1/namespaces", signal)).namespaces.slice(0, SPACES).map((space) => space.name) : []
  const lists = await Promise.all(["", ...spaces].map(async (space) => ({ space, list: await get<LimitList>(`/v1/limits${queryOf({ namespace: space, limit: 200 })}`, signal) })))
  return {
    limits: lists.flatMap(({ list }) => list.limits),
    settings: lists.flatMap(({ space, list }) => list.settings.map((one) => ({ ...one, namespace: space }))),
  }
}

export function Limits() {
  const namespace = namespaceOf()
  const list = useResource(`limits ${namespace}`, (signal) => load(namespace, signal), EVERY)
  const [action, setAction] = useState<Action | null>(null)
  const data = list.data
  const limits = data ? [...data.limits].sort((a, b) => b.waiting - a.waiting || b.running - a.running || a.key.localeCompare(b.key)) : []
  return (
    <>
      <Top crumbs={[["Limits", null]]} />
      <div class="page">
        <div class="ph">
          <h1>Limits</h1><span class="muted">for steps that share a key; longest queues first</span>
          <div class="act"><Button icon="plus" disabledBecause={may("limits:update") ? null : "needs the permission limits:update"} onClick={() => setAction(settingAction(null, namespace))}>Set a limit…</Button></div>
        </div>
        {data && <Stale problem={list.problem} reload={list.reload} />}
        {!data && list.problem ? (
          <Failed problem={list.problem} what="limits" reload={list.reload} />
        ) : !data ? (
          <Loading what="limits" />
        ) : limits.length + data.settings.length === 0 ? (
          <Empty icon="limit" title="No limits" command={'limits:\n  - {key: "bank", concurrency: 10, rate: 100/s}'}>
            A limit restricts how many steps with the same key run at once or start per second. Declare it in a template, or set it here.
          </Empty>
        ) : (
          <>
            <div class="tb flat">
              <table>
                <thead><tr><th>Key</th><th class="narrow-hide">Namespace</th><th>Running</th><th class="num">Waiting</th><th class="num narrow-hide">Rate</th><th class="num wide">Burst</th><th class="narrow-hide">Set by</th><th><span class="vh">Actions</span></th></tr></thead>
                <tbody>
                  {limits.map((one) => (
                    <tr class="row" key={`${one.namespace} ${one.key}`}>
                      <td><span class="strong" title={one.key}>{one.key}</span></td>
                      <td class="narrow-hide sec">{one.namespace || "all"}</td>
                      <td>{one.concurrency === null ? one.running.toLocaleString("en") : <Meter value={one.running} most={one.concurrency} />}</td>
                      <td class={`num ${one.waiting ? "c-retry" : ""}`}>{one.waiting >= 10_000 ? "10,000+" : one.waiting.toLocaleString("en")}</td>
                      <td class="num narrow-hide">{one.rate ?? "–"}</td>
                      <td class="num wide sec">{one.burst ?? "–"}</td>
                      <td class="narrow-hide sec">{one.set_by ?? "templates"}</td>
                      <td class="num"><Button small disabledBecause={refusal("limits:update", one.namespace || "*")} label={`Change the limit ${one.key}`} onClick={() => setAction(settingAction(one, one.namespace))}>Change…</Button></td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
            {data.settings.length > 0 && <Settings settings={data.settings} act={setAction} />}
          </>
        )}
      </div>
      {action && <ActionDialog action={action} onClose={() => setAction(null)} onDone={() => { setAction(null); list.reload() }} />}
    </>
  )
}

function Settings(props: { settings: Setting[]; act: (action: Action) => void }) {
  return (
    <section class="panel flat">
      <header><h2>Set by operators</h2><span class="muted">these override what templates declare</span></header>
      <div class="scroll-x">
        <table>
          <thead><tr><th>Key or pattern</th><th class="narrow-hide">Namespace</th><th class="num">Concurrency</th><th class="num">Rate</th><th class="narrow-hide">By</th><th><span class="vh">Actions</span></th></tr></thead>
          <tbody>
            {props.settings.map((one) => (
              <tr class="row" key={`${one.namespace} ${one.pattern}`}>
                <td class="strong">{one.pattern}</td>
                <td class="narrow-hide sec">{one.namespace || "all"}</td>
                <td class="num">{one.concurrency ?? "–"}</td>
                <td class="num">{one.rate ?? "–"}</td>
                <td class="narrow-hide sec">{one.updated_by}, <Time at={one.updated_at}>{ago(one.updated_at)}</Time></td>
                <td class="num"><Button small disabledBecause={refusal("limits:update", one.namespace || "*")} label={`Remove the setting for ${one.pattern}`} onClick={() => props.act(unsetAction(one))}>Remove…</Button></td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  )
}

const inSpace = (namespace: string) => (namespace ? ` --namespace ${namespace}` : "")
const bodyOf = (namespace: string, key: string) => (namespace ? { namespace, key } : { key })

function settingAction(limit: LimitView | null, namespace: string | null): Action {
  const spaceOf = (entered: Record<string, unknown>) => String(limit ? limit.namespace : (entered["namespace"] ?? ""))
  const keyOf = (entered: Record<string, unknown>) => limit?.key ?? String(entered["key"] ?? "")
  const bounds = ({ concurrency, rate, burst }: Record<string, unknown>) => ({ concurrency, rate, burst })
  const from = (value: unknown) => (value === null || value === undefined ? "" : String(value))
  return {
    title: limit ? `Change the limit ${limit.key}` : "Set a limit",
    fields: [
      ...(limit ? [] : [
        fieldOf("key", "Key", { required: true, help: "* matches any text; keys that begin with shared: apply to all namespaces" }),
        fieldOf("namespace", "Namespace", { initial: namespace ?? "default" }),
      ]),
      fieldOf("concurrency", "Concurrency", { kind: "integer", initial: from(limit?.concurrency), help: "maximum number of running steps; 0: no step starts; empty: as declared in templates" }),
      fieldOf("rate", "Rate", { initial: from(limit?.rate), help: "maximum number of steps that start: 100/s, 5/m, 1000/h, 10/d" }),
      fieldOf("burst", "Burst", { kind: "integer", initial: from(limit?.burst), help: "number of steps that may start at once after an idle period" }),
    ],
    effects: (entered) => [
      entered["concurrency"] === 0 ? "No more steps with this key start." : "The limit applies to steps that start from now on.",
      ...(limit && typeof entered["concurrency"] === "number" && entered["concurrency"] < limit.running ? [`${limit.running} steps are running; they finish normally.`] : []),
      "It overrides what templates declare until it is removed.",
    ],
    button: "Set 1 limit",
    needsReason: true,
    command: (reason, _, __, entered) =>
      withReason(`tasker limit set ${quoted(keyOf(entered) || "KEY")}${inSpace(spaceOf(entered))}${Object.entries(bounds(entered)).filter(([, value]) => value !== undefined).map(([name, value]) => ` --${name} ${value}`).join("")}`, reason),
    run: ({ reason, entered }) => call("PUT", "/v1/limits", { body: { ...bodyOf(spaceOf(entered), keyOf(entered)), ...bounds(entered), reason } }),
  }
}

function unsetAction(setting: Setting): Action {
  return {
    title: `Remove the setting for ${setting.pattern}`,
    effects: ["The limits that templates declare apply again."],
    button: "Remove 1 setting",
    command: (reason) => withReason(`tasker limit unset ${quoted(setting.pattern)}${inSpace(setting.namespace)}`, reason),
    run: ({ reason }) => post("/v1/limits/unset", { ...bodyOf(setting.namespace, setting.pattern), reason }),
  }
}
