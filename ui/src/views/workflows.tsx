// The registry: which workflows there are, whose they are, which versions take tasks.
import { useState } from "preact/hooks"
import { get, queryOf } from "../api/client.ts"
import type { NamespaceList, TemplateList, TemplateSummary } from "../api/types.ts"
import { Empty, Failed, Loading, plural, Stale, Time } from "../parts/bits.tsx"
import { Icon } from "../parts/icons.tsx"
import { Top } from "../parts/shell.tsx"
import { href } from "../router.ts"
import { useResource } from "../state/resource.ts"
import { namespaceOf } from "../state/shell.ts"
import { ago } from "../state/time.ts"

interface Registry {
  templates: TemplateSummary[]
  spaces: NamespaceList
}

export function Workflows() {
  const namespace = namespaceOf()
  const [filter, setFilter] = useState("")
  const registry = useResource<Registry>(`workflows ${namespace}`, async (signal) => {
    const [list, spaces] = await Promise.all([
      get<TemplateList>(`/v1/templates${queryOf({ namespace })}`, signal),
      get<NamespaceList>("/v1/namespaces", signal),
    ])
    return { templates: list.templates, spaces }
  }, 15_000)
  const words = filter.trim().toLowerCase()
  const shown = (registry.data?.templates ?? []).filter((one) => `${one.full_name} ${one.description}`.toLowerCase().includes(words))
  const names = [...new Set(shown.map((one) => one.namespace))]
  return (
    <>
      <Top crumbs={[["Workflows", null]]} />
      <div class="page">
        <div class="ph">
          <h1>Workflows</h1>
          <div class="act"><input class="text" type="search" placeholder="Filter by name" aria-label="Filter by name" value={filter} onInput={(event) => setFilter(event.currentTarget.value)} /></div>
        </div>
        {registry.data && <Stale problem={registry.problem} reload={registry.reload} />}
        {!registry.data && registry.problem ? (
          <Failed problem={registry.problem} what="workflows" reload={registry.reload} />
        ) : !registry.data ? (
          <Loading what="workflows" />
        ) : shown.length === 0 ? (
          registry.data.templates.length ? (
            <Empty icon="find" title="No workflow matches" />
          ) : (
            <Empty icon="flow" title="No workflows yet" command="tasker template register FILE.yaml">
              Workflows that are registered from YAML or Python appear here, with their versions and owners.
            </Empty>
          )
        ) : (
          names.map((name) => <Space key={name} name={name} registry={registry.data!} templates={shown.filter((one) => one.namespace === name)} />)
        )}
      </div>
    </>
  )
}

function Space(props: { name: string; registry: Registry; templates: TemplateSummary[] }) {
  const info = props.registry.spaces.namespaces.find((one) => one.name === props.name)
  const policy = info?.policy
  const byName = Map.groupBy(props.templates, (one) => one.name)
  return (
    <section class="panel flat">
      <header>
        <h2><a href={href(`/namespaces/${props.name}`)}>{props.name}</a></h2>
        <span class="muted ell">
          {policy ? <>{policy.owner_team}{policy.contact_email && <> · {policy.contact_email}</>} · {policy.requires_approval ? "new versions need a review" : "no review needed"}</> : "no owner declared"}
        </span>
        <span class="sp" />
        {info && info.pending_review > 0 && <span class="c-retry">{plural(info.pending_review, "version")} {info.pending_review === 1 ? "waits" : "wait"} for review</span>}
      </header>
      <ul class="rows">
        {[...byName].map(([name, unsorted]) => {
          const versions = unsorted.toSorted((a, b) => b.version.localeCompare(a.version, "en", { numeric: true }))
          const latest = versions[0]!
          return (
            <li key={name}>
              <Icon name="flow" />
              <div class="ell grow">
                <a class="wf" href={href(`/workflows/${latest.namespace}/${name}`)}><b>{name}</b><span class="muted">{latest.version}</span></a>
                <p class="muted ell">{latest.description || plural(latest.step_count, "step")}</p>
              </div>
              <span class="muted narrow-hide">{plural(versions.length, "version")}, {plural(latest.step_count, "step")}</span>
              <Time at={latest.registered_at} class="muted narrow-hide">{ago(latest.registered_at)}</Time>
              <a class="btn sm" href={href(`/workflows/${latest.namespace}/${name}?tab=submit`)} aria-label={`New task of ${name}`}>New task</a>
            </li>
          )
        })}
      </ul>
    </section>
  )
}
