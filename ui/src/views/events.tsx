// Domain events, the webhooks that receive them, and what became of each delivery.
import { useEffect, useState } from "preact/hooks"
import { call, get, may, post, queryOf } from "../api/client.ts"
import type { Delivery, DeliveryList, Event, EventList, Webhook, WebhookList } from "../api/types.ts"
import { ActionDialog, quoted, withReason, type Action } from "../parts/action.tsx"
import { Button, Copy, Empty, Failed, Loading, shortId, Stale, Time } from "../parts/bits.tsx"
import { Icon } from "../parts/icons.tsx"
import { Json } from "../parts/json.tsx"
import { Tabs } from "../parts/tabs.tsx"
import { Top } from "../parts/shell.tsx"
import { href, navigate, route, setQuery } from "../router.ts"
import { refusal } from "../state/actions.ts"
import { fieldOf } from "../state/forms.ts"
import { useResource } from "../state/resource.ts"
import { namespaceOf } from "../state/shell.ts"
import { ago, countdown, duration, tick } from "../state/time.ts"
import { now } from "../api/client.ts"

const EVERY = 5_000
const pathOf = (webhook: Webhook) => `/v1/webhooks/${webhook.namespace}/${webhook.name}`
const nameOf = (webhook: Webhook) => `${webhook.namespace}.${webhook.name}`

export function Events() {
  const namespace = namespaceOf()
  const { query } = route.value
  const [name, task] = [query.get("name"), query.get("task_id")]
  const webhooks = useResource(`webhooks ${namespace}`, (signal) => (may("webhooks:read") ? get<WebhookList>(`/v1/webhooks${queryOf({ namespace })}`, signal) : Promise.resolve({ webhooks: [] })), EVERY)
  const events = useResource(`events ${namespace} ${name} ${task}`, (signal) => get<EventList>(`/v1/events${queryOf({ namespace, name, task_id: task })}`, signal), EVERY)
  const [older, setOlder] = useState<EventList | null>(null)
  useEffect(() => setOlder(null), [namespace, name, task])
  const [action, setAction] = useState<Action | null>(null)
  const [created, setCreated] = useState<Webhook | null>(null)
  const cursor = older ? older.next_cursor : (events.data?.next_cursor ?? null)
  const shown = [...(events.data?.events ?? []), ...(older?.events ?? [])]
  const more = async () => {
    const page = await get<EventList>(`/v1/events${queryOf({ namespace, name, task_id: task, cursor })}`)
    setOlder({ events: [...(older?.events ?? []), ...page.events], next_cursor: page.next_cursor })
  }
  return (
    <>
      <Top crumbs={[["Events", null]]} />
      <div class="page">
        <div class="ph">
          <h1>Events</h1><span class="muted">events that steps published, and the webhooks that receive them</span>
          <div class="act"><Button icon="plus" disabledBecause={may("webhooks:update") ? null : "needs the permission webhooks:update"} onClick={() => setAction(createAction(namespace, setCreated))}>New webhook…</Button></div>
        </div>
        {created && <Secret webhook={created} />}
        {webhooks.data && webhooks.data.webhooks.length > 0 && (
          <section class="panel flat">
            <header><h2>Webhooks</h2></header>
            <div class="scroll-x">
              <table>
                <thead><tr><th>Webhook</th><th class="narrow-hide">Events</th><th class="narrow-hide">URL</th><th>Status</th><th class="num">Pending</th><th class="num">Dead</th></tr></thead>
                <tbody>
                  {webhooks.data.webhooks.map((one) => (
                    <tr class="row" key={nameOf(one)}>
                      <td><a class="wf" href={href(`/events/${one.namespace}/${one.name}`)}><b>{one.name}</b><span class="muted">{one.namespace}</span></a></td>
                      <td class="narrow-hide sec">{one.events.join(", ")}</td>
                      <td class="narrow-hide sec ell" title={one.url}>{one.url}</td>
                      <td class={one.paused ? "c-park" : "s-ok"}>{one.paused ? "paused" : "active"}</td>
                      <td class="num">{one.pending.toLocaleString("en")}</td>
                      <td class={`num ${one.dead ? "c-err" : ""}`}>{one.dead.toLocaleString("en")}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          </section>
        )}
        <form class="fl" role="search" onSubmit={(event) => { event.preventDefault(); setQuery({ name: String(new FormData(event.currentTarget).get("name")).trim() || null }) }}>
          <div class="q"><Icon name="find" /><input name="name" aria-label="Event name" placeholder="payment.* or payment.charged" defaultValue={name ?? ""} /></div>
          <Button type="submit">Filter</Button>
          {(name || task) && <Button icon="x" onClick={() => setQuery({ name: null, task_id: null })}>Show all</Button>}
        </form>
        {events.data && <Stale problem={events.problem} reload={events.reload} />}
        {!events.data && events.problem ? (
          <Failed problem={events.problem} what="events" reload={events.reload} />
        ) : !events.data ? (
          <Loading what="events" />
        ) : shown.length === 0 ? (
          <Empty icon="event" title={name || task ? "No event matches" : "No events yet"} command={'steps:\n  - name: charge\n    events: [{name: payment.charged, payload: "{result.id}"}]'}>
            Steps publish events with their outcomes, in the same transaction. Webhooks and subscribers in workers receive them.
          </Empty>
        ) : (
          <EventTable events={shown} more={cursor === null ? null : () => void more()} />
        )}
      </div>
      {action && <ActionDialog action={action} onClose={() => setAction(null)} onDone={() => { setAction(null); webhooks.reload() }} />}
    </>
  )
}

function EventTable(props: { events: Event[]; more: (() => void) | null }) {
  const [open, setOpen] = useState<number | null>(null)
  return (
    <div class="tb flat">
      <table>
        <thead><tr><th>Event</th><th class="narrow-hide">Step</th><th>Task</th><th class="narrow-hide">Outcome</th><th class="num">At</th></tr></thead>
        <tbody>
          {props.events.map((one) => (
            <>
              <tr class="row" key={one.no}>
                <td><button type="button" class="link" aria-expanded={open === one.no} onClick={() => setOpen(open === one.no ? null : one.no)}>{one.name}</button></td>
                <td class="narrow-hide sec">{one.step} of {one.namespace}.{one.template} {one.version}</td>
                <td class="mono id"><a class="link" href={href(`/tasks/${one.task_id}?step=${encodeURIComponent(one.step)}`)}>{shortId(one.task_id)}</a></td>
                <td class="narrow-hide sec">{one.outcome.replaceAll("_", " ")}</td>
                <td class="num"><Time at={one.at} /></td>
              </tr>
              {open === one.no && <tr key={`${one.no} payload`}><td colSpan={5} class="wrap"><Json value={one.payload} label={`Payload of ${one.name}`} /></td></tr>}
            </>
          ))}
        </tbody>
      </table>
      {props.more && <p class="more"><Button small onClick={props.more}>Show older events</Button></p>}
    </div>
  )
}

/** A secret is shown once, in the answer that made it. */
function Secret(props: { webhook: Webhook }) {
  if (!props.webhook.secret) return null
  return (
    <div class="notice" role="status">
      <Icon name="approve" />
      <span>The secret of {nameOf(props.webhook)} is shown only once: <code class="mono">{props.webhook.secret}</code></span>
      <Copy text={props.webhook.secret} label="Copy the secret" />
    </div>
  )
}

const list = (text: unknown) => String(text ?? "").split(/[\s,]+/).filter(Boolean)

function webhookFields(webhook: Webhook | null) {
  return [
    fieldOf("url", "URL", { required: true, initial: webhook?.url ?? "", help: "https://…" }),
    fieldOf("events", "Events", { initial: webhook?.events.join(", ") ?? "*", help: "event names or prefixes such as payment.*, separated by commas" }),
    fieldOf("include", "Requests contain", { kind: "choice", choices: ["the event", "context", "result", "context, result"], initial: webhook?.include.join(", ") || "the event" }),
  ]
}

function changesOf(entered: Record<string, unknown>) {
  return { url: entered["url"], events: list(entered["events"]), include: list(entered["include"]).filter((one) => one === "context" || one === "result") }
}

const optionsOf = ({ events, include }: { events: string[]; include: string[] }) => [...events.map((one) => ` --event ${quoted(one)}`), ...include.map((one) => ` --include ${one}`)].join("")

function createAction(namespace: string | null, created: (webhook: Webhook) => void): Action {
  return {
    title: "New webhook",
    fields: [fieldOf("namespace", "Namespace", { required: true, initial: namespace ?? "default" }), fieldOf("name", "Name", { required: true }), ...webhookFields(null)],
    effects: ["Each matching event that is published from now on is sent to the URL in a signed request, which is repeated until the response is 2xx.", "The signing secret is shown only once."],
    button: "Create 1 webhook",
    command: (reason, _, __, entered) => withReason(`tasker webhook create ${entered["namespace"] ?? "NAMESPACE"}.${entered["name"] ?? "NAME"} ${entered["url"] ?? "URL"}${optionsOf(changesOf(entered))}`, reason),
    run: async ({ reason, entered }) => created(await post<Webhook>("/v1/webhooks", { namespace: entered["namespace"], name: entered["name"], ...changesOf(entered), reason })),
  }
}

const DELIVERIES = { all: "All", pending: "Pending", dead: "Dead", delivered: "Delivered" } as const

interface Loaded {
  webhook: Webhook
  deliveries: DeliveryList
}

export function WebhookPage(props: { namespace: string; name: string }) {
  const { namespace, name } = props
  const asked = route.value.query.get("status") ?? ""
  const status = asked in DELIVERIES ? asked : "all"
  const loaded = useResource<Loaded>(`webhook ${namespace}.${name} ${status}`, async (signal) => {
    const path = `/v1/webhooks/${namespace}/${name}`
    const [webhook, deliveries] = await Promise.all([get<Webhook>(path, signal), get<DeliveryList>(`${path}/deliveries${queryOf({ status: status === "all" ? null : status })}`, signal)])
    return { webhook, deliveries }
  }, EVERY)
  const [action, setAction] = useState<Action | null>(null)
  const [replaced, setReplaced] = useState<Webhook | null>(null)
  const webhook = loaded.data?.webhook
  const refused = refusal("webhooks:update", namespace)
  return (
    <>
      <Top crumbs={[["Events", "/events"], [name, null]]} />
      <div class="page">
        {!webhook ? (
          loaded.problem ? <Failed problem={loaded.problem} what="this webhook" reload={loaded.reload} /> : <Loading what="the webhook" />
        ) : (
          <>
            <div class="ph">
              <h1>{name}</h1>{webhook.paused && <span class="pill s-park">Paused</span>}
              <div class="act">
                <Button icon="edit" disabledBecause={refused} onClick={() => setAction(changeAction(webhook))}>Change…</Button>
                <Button disabledBecause={refused} onClick={() => setAction(secretAction(webhook, setReplaced))}>New secret…</Button>
                <Button icon="pause" disabledBecause={refused} onClick={() => setAction(pauseAction(webhook))}>{webhook.paused ? "Resume…" : "Pause…"}</Button>
                <Button icon="x" disabledBecause={refused} onClick={() => setAction(deleteAction(webhook))}>Delete…</Button>
              </div>
            </div>
            <Stale problem={loaded.problem} reload={loaded.reload} />
            {replaced && <Secret webhook={replaced} />}
            <section class="panel flat">
              <dl class="pad">
                <dt>URL</dt><dd class="mono">{webhook.url}</dd>
                <dt>Events</dt><dd>{webhook.events.join(", ")} of {namespace}</dd>
                <dt>Requests contain</dt><dd>{["the event", ...webhook.include].join(", ")}</dd>
                <dt>Created</dt><dd><Time at={webhook.created_at} /> by {webhook.created_by}</dd>
              </dl>
            </section>
            <Tabs label="Deliveries" name="status" tabs={DELIVERIES} chosen={status} first="all" />
            <Deliveries webhook={webhook} deliveries={loaded.data!.deliveries} refused={refused} act={setAction} />
          </>
        )}
      </div>
      {action && <ActionDialog action={action} onClose={() => setAction(null)} onDone={() => { setAction(null); loaded.reload() }} />}
    </>
  )
}

const DELIVERY_TONES: Record<string, string> = { delivered: "s-ok", dead: "c-err", pending: "c-retry" }

function Deliveries(props: { webhook: Webhook; deliveries: DeliveryList; refused: string | null; act: (action: Action) => void }) {
  const [open, setOpen] = useState<number | null>(null)
  tick.value
  if (props.deliveries.deliveries.length === 0) return <p class="more">No deliveries have this status.</p>
  return (
    <div class="tb flat">
      <table>
        <thead><tr><th>Event</th><th>Status</th><th class="num narrow-hide">Attempts</th><th class="narrow-hide">Last response</th><th class="num narrow-hide">Created</th><th><span class="vh">Actions</span></th></tr></thead>
        <tbody>
          {props.deliveries.deliveries.map((one) => {
            const last = one.log.at(-1)
            const left = one.next_at ? Date.parse(one.next_at) - now() : 0
            return (
              <>
                <tr class="row" key={one.id}>
                  <td><button type="button" class="link" aria-expanded={open === one.id} onClick={() => setOpen(open === one.id ? null : one.id)}>{one.event_name}</button></td>
                  <td class={DELIVERY_TONES[one.status] ?? ""}>{one.status}{one.status === "pending" && left > 0 && `, next attempt in ${countdown(left)}`}</td>
                  <td class="num narrow-hide">{one.attempts}</td>
                  <td class="narrow-hide sec ell">{last ? (last.error || `${last.response ?? "received"}`) : "–"}</td>
                  <td class="num narrow-hide sec"><Time at={one.created_at}>{ago(one.created_at)}</Time></td>
                  <td class="num"><Button small disabledBecause={props.refused} label={`Send ${one.event_name} again, delivery ${one.id}`} onClick={() => props.act(sendAction(props.webhook, one))}>Send again…</Button></td>
                </tr>
                {open === one.id && <tr key={`${one.id} log`}><td colSpan={6} class="wrap"><Log delivery={one} /></td></tr>}
              </>
            )
          })}
        </tbody>
      </table>
    </div>
  )
}

function Log(props: { delivery: Delivery }) {
  const { delivery } = props
  return (
    <>
      <p class="sec">Task <a class="link mono" href={href(`/tasks/${delivery.task_id}`)}>{shortId(delivery.task_id)}</a>, event {delivery.event_id}</p>
      <ul>{delivery.log.map((one, no) => (
        <li key={no}><Time at={one.at} /> <span class={one.error ? "c-err" : "s-ok"}>{one.response ?? (one.error ? "no response" : "received")}</span> in {duration(one.duration)}{one.error && `: ${one.error}`}</li>
      ))}</ul>
    </>
  )
}

function sendAction(webhook: Webhook, delivery: Delivery): Action {
  return {
    title: `Send ${delivery.event_name} again`,
    effects: [`The event is sent to ${webhook.url} now, even if it was delivered before.`, "Receivers can recognize a repeated event by its id."],
    button: "Send 1 event",
    command: (reason) => withReason(`tasker webhook send ${nameOf(webhook)} ${delivery.id}`, reason),
    run: ({ reason }) => post(`${pathOf(webhook)}/deliveries/${delivery.id}/send`, { reason }),
  }
}

function changeAction(webhook: Webhook): Action {
  return {
    title: `Change ${nameOf(webhook)}`,
    fields: webhookFields(webhook),
    effects: ["The change applies to all requests from now on; failed deliveries are no longer delayed."],
    button: "Change 1 webhook",
    command: (reason, _, __, entered) => withReason(`tasker webhook update ${nameOf(webhook)} --url ${entered["url"] ?? "URL"}${optionsOf(changesOf(entered))}`, reason),
    run: ({ reason, entered }) => call("PATCH", pathOf(webhook), { body: { ...changesOf(entered), reason } }),
  }
}

function pauseAction(webhook: Webhook): Action {
  const label = webhook.paused ? "Resume" : "Pause"
  return {
    title: `${label} ${nameOf(webhook)}`,
    effects: webhook.paused ? ["Events that were waiting are sent now."] : ["Its events wait until someone resumes it."],
    button: `${label} 1 webhook`,
    command: (reason) => withReason(`tasker webhook update ${nameOf(webhook)} --${label.toLowerCase()}`, reason),
    run: ({ reason }) => call("PATCH", pathOf(webhook), { body: { paused: !webhook.paused, reason } }),
  }
}

function secretAction(webhook: Webhook, replaced: (webhook: Webhook) => void): Action {
  return {
    title: `Replace the secret of ${nameOf(webhook)}`,
    effects: ["Requests from now on are signed with a new secret.", "The receiver must use the new secret to verify them."],
    button: "Replace 1 secret",
    danger: true,
    needsReason: true,
    command: (reason) => withReason(`tasker webhook secret ${nameOf(webhook)}`, reason),
    run: async ({ reason }) => replaced(await post<Webhook>(`${pathOf(webhook)}/secret`, { reason })),
  }
}

function deleteAction(webhook: Webhook): Action {
  return {
    title: `Delete ${nameOf(webhook)}`,
    effects: [`${webhook.pending.toLocaleString("en")} pending deliveries and the log of all other deliveries are deleted.`, "This cannot be undone."],
    button: "Delete 1 webhook",
    danger: true,
    needsReason: true,
    command: (reason) => withReason(`tasker webhook delete ${nameOf(webhook)}`, reason),
    run: async ({ reason }) => {
      await call("DELETE", `${pathOf(webhook)}${queryOf({ reason })}`)
      navigate("/events")
    },
  }
}
