// Namespaces: whose they are, their rules, and what was done to them.
import { useState } from "preact/hooks"
import { call, get, may, queryOf } from "../api/client.ts"
import type { NamespaceInfo, NamespaceList, NamespacePolicy, PauseList, AuditEntryList } from "../api/types.ts"
import { ActionDialog, quoted, withReason, type Action } from "../parts/action.tsx"
import { Button, Empty, Failed, Loading, plural, Stale, Time } from "../parts/bits.tsx"
import { Icon } from "../parts/icons.tsx"
import { Top } from "../parts/shell.tsx"
import { href } from "../router.ts"
import { AuditTable } from "./audit.tsx"
import { pauseTargetAction, refusal } from "../state/actions.ts"
import { fieldOf } from "../state/forms.ts"
import { useResource } from "../state/resource.ts"

export function Namespaces() {
  const list = useResource("namespaces page", (signal) => get<NamespaceList>("/v1/namespaces", signal), 15_000)
  return (
    <>
      <Top crumbs={[["Namespaces", null]]} />
      <div class="page">
        <div class="ph"><h1>Namespaces</h1><span class="muted">teams and what they own</span></div>
        {list.data && <Stale problem={list.problem} reload={list.reload} />}
        {!list.data && list.problem ? (
          <Failed problem={list.problem} what="namespaces" reload={list.reload} />
        ) : !list.data ? (
          <Loading what="namespaces" />
        ) : list.data.namespaces.length === 0 ? (
          <Empty icon="ns" title="No namespaces yet">A namespace appears when its first workflow is registered or its policy is declared.</Empty>
        ) : (
          <section class="panel flat">
            <ul class="rows">
              {list.data.namespaces.map((space) => (
                <li key={space.name}>
                  <Icon name="ns" />
                  <div class="ell grow">
                    <a class="wf" href={href(`/namespaces/${space.name}`)}><b>{space.name}</b><span class="muted">{space.policy?.owner_team ?? "no owner declared"}</span></a>
                    <p class="muted ell">{space.policy?.description ?? ""}</p>
                  </div>
                  {space.pending_review > 0 && <span class="c-retry">{plural(space.pending_review, "version")} to review</span>}
                  <a class="link narrow-hide" href={href(`/workflows?namespace=${space.name}`)}>{plural(space.templates, "workflow")}</a>
                </li>
              ))}
            </ul>
          </section>
        )}
      </div>
    </>
  )
}

interface Loaded {
  info: NamespaceInfo
  audit: AuditEntryList
  pauses: PauseList
}

export function NamespacePage(props: { name: string }) {
  const { name } = props
  const loaded = useResource<Loaded>(`namespace ${name}`, async (signal) => {
    const [info, audit, pauses] = await Promise.all([
      get<NamespaceInfo>(`/v1/namespaces/${name}`, signal),
      get<AuditEntryList>(`/v1/namespaces/${name}/audit?limit=100`, signal),
      may("queues:read", name) ? get<PauseList>(`/v1/pauses${queryOf({ namespace: name })}`, signal) : { pauses: [] },
    ])
    return { info, audit, pauses }
  }, 15_000)
  const [action, setAction] = useState<Action | null>(null)
  const policy = loaded.data?.info.policy
  const pause = loaded.data?.pauses.pauses.find((one) => one.kind === "namespace")
  return (
    <>
      <Top crumbs={[["Namespaces", "/namespaces"], [name, null]]} />
      <div class="page">
        <div class="ph"><h1>{name}</h1>{pause && <span class="pill s-park" title={pause.reason}>paused by {pause.paused_by}</span>}<div class="act"><Button icon="pause" disabledBecause={refusal("namespaces:pause", name)} onClick={() => setAction(pauseTargetAction({ kind: "namespace", namespace: name, name }, pause))}>{pause ? "Resume…" : "Pause…"}</Button><a class="btn" href={href(`/workflows?namespace=${name}`)}>Workflows</a><a class="btn" href={href(`/tasks?namespace=${name}`)}>Tasks</a></div></div>
        {!loaded.data ? (
          loaded.problem ? <Failed problem={loaded.problem} what="this namespace" reload={loaded.reload} /> : <Loading what="the namespace" />
        ) : (
          <>
            <Stale problem={loaded.problem} reload={loaded.reload} />
            <section class="panel flat">
              <header><h2>Policy</h2><span class="sp" /><Button small icon="edit" disabledBecause={refusal("namespaces:update", name)} onClick={() => setAction(policyAction(name, policy ?? null))}>{policy ? "Edit…" : "Declare…"}</Button></header>
              {policy ? (
                <dl class="pad">
                  <dt>Owner</dt><dd>{policy.owner_team || "–"}</dd>
                  <dt>Contact</dt><dd>{policy.contact_email || "–"}</dd>
                  <dt>Description</dt><dd>{policy.description || "–"}</dd>
                  <dt>New versions</dt><dd>{policy.requires_approval ? `need a review by ${policy.approvers.join(" or ")}` : "accept tasks at once"}</dd>
                  <dt>HTTP steps</dt><dd>{policy.http_hosts.length ? `may call ${policy.http_hosts.join(", ")}` : "may call no hosts"}</dd>
                  {policy.updated_at && <><dt>Declared</dt><dd><Time at={policy.updated_at} /> by {policy.updated_by}</dd></>}
                </dl>
              ) : (
                <Empty icon="ns" title="No policy declared" command={`tasker namespace put ${name} --owner "TEAM"`}>
                  A policy names the owner of the namespace and decides whether new versions of its workflows need a review. To apply a file of policies, use <b>tasker namespace apply</b>.
                </Empty>
              )}
            </section>
            <section class="panel flat">
              <header><h2>Audit log</h2><span class="muted">policies and versions, newest first</span></header>
              {loaded.data.audit.events.length === 0 ? <p class="more">No entries yet.</p> : <AuditTable events={loaded.data.audit.events} more={null} />}
            </section>
          </>
        )}
      </div>
      {action && <ActionDialog action={action} onClose={() => setAction(null)} onDone={() => { setAction(null); loaded.reload() }} />}
    </>
  )
}

const words = (text: unknown) => String(text ?? "").split(/[\s,]+/).filter(Boolean)

/** Change a policy: the effects are what differs from the stored one. */
function policyAction(namespace: string, policy: NamespacePolicy | null): Action {
  const before = {
    owner_team: policy?.owner_team ?? "",
    contact_email: policy?.contact_email ?? "",
    description: policy?.description ?? "",
    requires_approval: policy?.requires_approval ?? false,
    approvers: policy?.approvers ?? [],
    http_hosts: policy?.http_hosts ?? [],
  }
  const after = (entered: Record<string, unknown>) => ({
    owner_team: String(entered["owner_team"] ?? ""),
    contact_email: String(entered["contact_email"] ?? ""),
    description: String(entered["description"] ?? ""),
    requires_approval: entered["requires_approval"] === true,
    approvers: words(entered["approvers"]),
    http_hosts: words(entered["http_hosts"]),
  })
  const differs = (entered: Record<string, unknown>) =>
    Object.entries(after(entered)).filter(([key, value]) => JSON.stringify(value) !== JSON.stringify(before[key as keyof typeof before]))
  const shown = (value: unknown) => (Array.isArray(value) ? value.join(", ") : String(value)) || "nothing"
  return {
    title: `Policy of ${namespace}`,
    fields: [
      fieldOf("owner_team", "Owner", { initial: before.owner_team }),
      fieldOf("contact_email", "Contact", { initial: before.contact_email }),
      fieldOf("description", "Description", { initial: before.description }),
      fieldOf("requires_approval", "New versions need a review", { kind: "boolean", choices: ["false", "true"], initial: String(before.requires_approval), required: true }),
      fieldOf("approvers", "Approvers", { initial: before.approvers.join(", "), help: "e-mail addresses, separated by commas" }),
      fieldOf("http_hosts", "Hosts that http: steps may call", { initial: before.http_hosts.join(", "), help: "api.example.com, *.example.com" }),
    ],
    effects: (entered) => {
      const changes = differs(entered).map(([key, value]) => `${key.replaceAll("_", " ")}: ${shown(before[key as keyof typeof before])} → ${shown(value)}`)
      return changes.length ? changes : ["Nothing changes."]
    },
    button: "Declare 1 policy",
    needsReason: true,
    command: (reason, _, __, entered) =>
      withReason(
        `tasker namespace put ${namespace}${differs(entered).map(([key, value]) => optionOf(key, value)).join("")}`,
        reason,
      ),
    run: ({ reason, entered }) => call("PUT", `/v1/namespaces/${namespace}/policy`, { body: { ...after(entered), reason } }),
  }
}

function optionOf(key: string, value: unknown): string {
  if (typeof value === "boolean") return value ? ` --${key.replaceAll("_", "-")}` : ` --no-${key.replaceAll("_", "-")}`
  if (Array.isArray(value)) return value.map((one: string) => ` --${key === "approvers" ? "approver" : "http-host"} ${quoted(one)}`).join("")
  return ` --${key.replaceAll("_", "-")} ${quoted(String(value))}`
}
