// The audit of namespaces, template versions, limits, schedules and keys: who did what, when and why.
import { useEffect, useState } from "preact/hooks"
import { get, queryOf } from "../api/client.ts"
import type { AuditEntryList, TeamAuditEntry } from "../api/types.ts"
import { Button, Empty, Failed, Loading, Stale, Time } from "../parts/bits.tsx"
import { Json } from "../parts/json.tsx"
import { Top } from "../parts/shell.tsx"
import { useResource } from "../state/resource.ts"
import { namespaceOf } from "../state/shell.ts"

export function Audit() {
  const namespace = namespaceOf()
  const list = useResource(`audit ${namespace}`, (signal) => get<AuditEntryList>(`/v1/audit${queryOf({ namespace })}`, signal), 10_000)
  const [older, setOlder] = useState<AuditEntryList | null>(null)
  useEffect(() => setOlder(null), [namespace])
  const cursor = older ? older.next_cursor : (list.data?.next_cursor ?? null)
  const more = async () => {
    const page = await get<AuditEntryList>(`/v1/audit${queryOf({ namespace, cursor })}`)
    setOlder({ events: [...(older?.events ?? []), ...page.events], next_cursor: page.next_cursor })
  }
  const shown = [...(list.data?.events ?? []), ...(older?.events ?? [])]
  return (
    <>
      <Top crumbs={[["Audit", null]]} />
      <div class="page">
        <div class="ph"><h1>Audit log</h1><span class="muted">who changed what and why, newest first</span></div>
        {list.data && <Stale problem={list.problem} reload={list.reload} />}
        {!list.data && list.problem ? (
          <Failed problem={list.problem} what="the audit log" reload={list.reload} />
        ) : !list.data ? (
          <Loading what="the audit log" />
        ) : shown.length === 0 ? (
          <Empty icon="audit" title="No changes yet">Changes to policies, versions, limits, schedules, webhooks, pauses and keys are listed here. Actions on a task are listed on the task's page.</Empty>
        ) : (
          <AuditTable events={shown} more={cursor === null ? null : () => void more()} />
        )}
      </div>
    </>
  )
}

export function AuditTable(props: { events: TeamAuditEntry[]; more: (() => void) | null }) {
  const [open, setOpen] = useState<number | null>(null)
  const via = props.events.some((event) => event.via)
  const reason = props.events.some((event) => event.reason)
  return (
    <div class="tb flat">
      <table>
        <thead><tr><th>When</th><th>Who</th>{via && <th class="narrow-hide">Via</th>}<th>Action</th><th>Object</th>{reason && <th class="narrow-hide">Reason</th>}<th><span class="vh">Change</span></th></tr></thead>
        <tbody>
          {props.events.map((event) => {
            const changed = event.before !== null || event.after !== null
            return (
              <>
                <tr class="row" key={event.id}>
                  <td><Time at={event.at} /></td><td>{event.actor}</td>{via && <td class="narrow-hide sec">{event.via}</td>}<td>{event.action.replaceAll("_", " ")}</td><td>{event.subject}</td>{reason && <td class="narrow-hide sec">{event.reason}</td>}
                  <td class="num">{changed && <Button small kind="ghost" label={`${open === event.id ? "Hide" : "Change"} of ${event.subject}, entry ${event.id}`} onClick={() => setOpen(open === event.id ? null : event.id)}>{open === event.id ? "Hide" : "Change"}</Button>}</td>
                </tr>
                {open === event.id && (
                  <tr key={`${event.id} change`}>
                    <td colSpan={5 + Number(via) + Number(reason)} class="wrap">
                      <div class="two-cols">
                        <section><h2 class="small">Before</h2><Json value={event.before} label="Before" /></section>
                        <section><h2 class="small">After</h2><Json value={event.after} label="After" /></section>
                      </div>
                    </td>
                  </tr>
                )}
              </>
            )
          })}
        </tbody>
      </table>
      {props.more && <p class="more"><Button small onClick={props.more}>Show older entries</Button></p>}
    </div>
  )
}
