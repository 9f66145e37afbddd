// A new task: choose its workflow, then fill in the form of its inputs.
import { useState } from "preact/hooks"
import { get, may, queryOf } from "../api/client.ts"
import type { TemplateList, TemplateSummary } from "../api/types.ts"
import { Empty, Failed, Loading } from "../parts/bits.tsx"
import { Icon } from "../parts/icons.tsx"
import { Top } from "../parts/shell.tsx"
import { href, route } from "../router.ts"
import { useResource } from "../state/resource.ts"
import { namespaceOf } from "../state/shell.ts"
import { LoadedSubmit } from "./workflow.tsx"

export function NewTask() {
  const asked = route.value.query.get("workflow")
  const [full, version] = (asked ?? "").split("@")
  const dot = full!.lastIndexOf(".")
  return (
    <>
      <Top crumbs={[["Tasks", "/tasks"], ["New task", asked ? "/tasks/new" : null], ...(asked ? [[full!, null] as [string, null]] : [])]} />
      <div class="page">
        <div class="ph"><h1>New task{asked && <> of <a class="link" href={href(`/workflows/${full!.slice(0, dot)}/${full!.slice(dot + 1)}`)}>{full}</a></>}</h1></div>
        {asked ? <LoadedSubmit key={asked} namespace={full!.slice(0, Math.max(dot, 0)) || "default"} name={full!.slice(dot + 1)} version={version || "latest"} /> : <Choice />}
      </div>
    </>
  )
}

/** The workflows of which the viewer may create tasks, or why not. */
function Choice() {
  const namespace = namespaceOf()
  const [filter, setFilter] = useState("")
  const list = useResource(`workflows of new tasks ${namespace}`, (signal) => get<TemplateList>(`/v1/templates${queryOf({ namespace })}`, signal))
  if (!list.data) return list.problem ? <Failed problem={list.problem} what="workflows" reload={list.reload} /> : <Loading what="workflows" />
  const latest = new Map<string, TemplateSummary>()
  for (const one of list.data.templates) {
    const key = `${one.namespace}.${one.name}`
    const before = latest.get(key)
    if (!before || before.version.localeCompare(one.version, "en", { numeric: true }) < 0) latest.set(key, one)
  }
  if (latest.size === 0) {
    return <Empty icon="flow" title="No workflows yet" command="tasker template register FILE.yaml">A task is one run of a workflow. Register one first.</Empty>
  }
  const words = filter.trim().toLowerCase()
  const shown = [...latest].filter(([key, one]) => `${key} ${one.description}`.toLowerCase().includes(words)).sort(([a], [b]) => a.localeCompare(b))
  return (
    <section class="panel flat">
      <header>
        <h2>Choose a workflow</h2><span class="sp" />
        <input class="text filter" type="search" placeholder="Filter by name" aria-label="Filter by name" autoFocus value={filter} onInput={(event) => setFilter(event.currentTarget.value)} />
      </header>
      {shown.length === 0 && <p class="more">No workflow matches.</p>}
      <ul class="rows">
        {shown.slice(0, 200).map(([key, one]) => {
          const refused = may("tasks:create", one.namespace) ? null : `needs the permission tasks:create in ${one.namespace}`
          return (
            <li key={key}>
              <Icon name="flow" />
              <div class="ell grow">
                {refused ? <b>{key}</b> : <a class="wf" href={href(`/tasks/new${queryOf({ workflow: key })}`)}><b>{key}</b><span class="muted">{one.version}</span></a>}
                <p class="muted ell">{refused ?? one.description}</p>
              </div>
            </li>
          )
        })}
      </ul>
      {shown.length > 200 && <p class="more">The first 200 of {shown.length.toLocaleString("en")} workflows are shown. Filter by name to find others.</p>}
    </section>
  )
}
