// Namespaces: whose they are, their rules, and what was done to them.
import { get } from "../api/client.ts"
import type { NamespaceInfo, NamespaceList, TeamAudit } from "../api/types.ts"
import { Empty, Failed, Loading, plural, Stale, Time } from "../parts/bits.tsx"
import { Icon } from "../parts/icons.tsx"
import { Top } from "../parts/shell.tsx"
import { href } from "../router.ts"
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
          <Empty icon="ns" title="No namespaces yet">A namespace appears with its first workflow, or with its policy.</Empty>
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
  audit: TeamAudit
}

export function NamespacePage(props: { name: string }) {
  const { name } = props
  const loaded = useResource<Loaded>(`namespace ${name}`, async (signal) => {
    const [info, audit] = await Promise.all([
      get<NamespaceInfo>(`/v1/namespaces/${name}`, signal),
      get<TeamAudit>(`/v1/namespaces/${name}/audit?limit=100`, signal),
    ])
    return { info, audit }
  }, 15_000)
  const policy = loaded.data?.info.policy
  return (
    <>
      <Top crumbs={[["Namespaces", "/namespaces"], [name, null]]} />
      <div class="page">
        <div class="ph"><h1>{name}</h1><div class="act"><a class="btn" href={href(`/workflows?namespace=${name}`)}>Workflows</a><a class="btn" href={href(`/tasks?namespace=${name}`)}>Tasks</a></div></div>
        {!loaded.data ? (
          loaded.problem ? <Failed problem={loaded.problem} what="this namespace" reload={loaded.reload} /> : <Loading what="the namespace" />
        ) : (
          <>
            <Stale problem={loaded.problem} reload={loaded.reload} />
            <section class="panel flat">
              <header><h2>Policy</h2></header>
              {policy ? (
                <dl class="pad">
                  <dt>Owner</dt><dd>{policy.owner_team || "–"}</dd>
                  <dt>Contact</dt><dd>{policy.contact_email || "–"}</dd>
                  <dt>Description</dt><dd>{policy.description || "–"}</dd>
                  <dt>New versions</dt><dd>{policy.requires_approval ? `need a review by ${policy.approvers.join(" or ")}` : "take tasks at once"}</dd>
                  {policy.updated_at && <><dt>Declared</dt><dd><Time at={policy.updated_at} /> by {policy.updated_by}</dd></>}
                </dl>
              ) : (
                <Empty icon="ns" title="No policy is declared" command={`tasker namespace put ${name} --owner "TEAM"`}>
                  It says who owns the namespace, and whether new versions of its workflows need a review. A file of policies is applied with <b>tasker namespace apply</b>.
                </Empty>
              )}
            </section>
            <section class="panel flat">
              <header><h2>Audit</h2><span class="muted">policies and versions, newest first</span></header>
              {loaded.data.audit.events.length === 0 ? <p class="more">Nothing has happened yet.</p> : (
                <div class="scroll-x">
                  <table>
                    <thead><tr><th>When</th><th>Who</th><th>Did</th><th>To</th><th class="narrow-hide">Reason</th></tr></thead>
                    <tbody>
                      {loaded.data.audit.events.map((event) => (
                        <tr key={event.id} class="row"><td><Time at={event.at} /></td><td>{event.actor}</td><td>{event.action.replaceAll("_", " ")}</td><td>{event.subject}</td><td class="narrow-hide sec">{event.reason}</td></tr>
                      ))}
                    </tbody>
                  </table>
                </div>
              )}
            </section>
          </>
        )}
      </div>
    </>
  )
}
