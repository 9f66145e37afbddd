// What differs between two versions of a workflow: as a graph and as text.
import { useMemo } from "preact/hooks"
import { get, queryOf } from "../api/client.ts"
import type { Difference, TemplateVersionList, TemplateView } from "../api/types.ts"
import { GraphView } from "../draw/graph.tsx"
import { Failed, Loading, plural } from "../parts/bits.tsx"
import { route, setQuery } from "../router.ts"
import { pictureOf, pictureOfSteps } from "../state/picture.ts"
import { useResource } from "../state/resource.ts"

interface Loaded {
  difference: Difference
  before: TemplateView
  after: TemplateView
}

/** How a step of either version is drawn. */
const LOOKS = { added: "complete", removed: "error", changed: "waiting_for_retry", same: "enqueued" } as const

export function Diff(props: { namespace: string; name: string; versions: TemplateVersionList; current: string }) {
  const { namespace, name, versions } = props
  const { query } = route.value
  const names = [...new Set(versions.versions.map((one) => one.version))]
  const to = query.get("to") ?? props.current
  const from = query.get("from") ?? names.find((one) => one !== to) ?? to
  const path = `/v1/templates/${namespace}/${name}`
  const loaded = useResource<Loaded>(`diff ${namespace}.${name} ${from} ${to}`, async (signal) => {
    const difference = await get<Difference>(`${path}/diff${queryOf({ from, to })}`, signal)
    const [before, after] = await Promise.all([difference.from_version, difference.to_version].map((one) => get<TemplateView>(`${path}/${encodeURIComponent(one)}`, signal)))
    return { difference, before: before!, after: after! }
  })
  const choose = (key: "from" | "to", label: string, chosen: string) => (
    <label class="pick">{label}{" "}
      <select class="text" value={chosen} onChange={(event) => setQuery({ [key]: event.currentTarget.value })}>
        {!names.includes(chosen) && <option value={chosen}>{chosen}</option>}
        {names.map((one) => <option key={one} value={one}>{one}</option>)}
      </select>
    </label>
  )
  return (
    <>
      <div class="ph">{choose("from", "From", from)}{choose("to", "to", to)}{loaded.data && <span class="muted">{summary(loaded.data.difference)}</span>}</div>
      {!loaded.data ? (
        loaded.problem ? <Failed problem={loaded.problem} what="the differences" reload={loaded.reload} /> : <Loading what="the differences" />
      ) : (
        <>
          <DiffGraph {...loaded.data} />
          <Changes difference={loaded.data.difference} />
        </>
      )}
    </>
  )
}

function summary(difference: Difference): string {
  if (difference.identical) return "The versions are identical."
  const parts = [["added", difference.steps_added], ["removed", difference.steps_removed], ["changed", difference.steps_changed]] as const
  return parts.filter(([, steps]) => steps.length).map(([verb, steps]) => `${plural(steps.length, "step")} ${verb}`).join(", ") || "The steps are identical."
}

function DiffGraph(props: Loaded) {
  const { difference, before, after } = props
  const { picture, captions } = useMemo(() => {
    const kinds = new Map<string, keyof typeof LOOKS>()
    for (const name of difference.steps_added) kinds.set(name, "added")
    for (const name of difference.steps_removed) kinds.set(name, "removed")
    for (const name of difference.steps_changed) kinds.set(name, "changed")
    const kept = new Set(after.steps.map((step) => step.name))
    const steps = [...after.steps, ...before.steps.filter((step) => !kept.has(step.name))]
    const looks = steps.map((step) => LOOKS[kinds.get(step.name) ?? "same"])
    return {
      picture: pictureOf(pictureOfSteps(steps, looks)),
      captions: new Map(steps.map((step) => [step.name, kinds.get(step.name) ?? "unchanged"])),
    }
  }, [difference, before, after])
  return (
    <section class="panel graph">
      <header><h2>Graph</h2><span class="muted">of both versions</span></header>
      <GraphView picture={picture} selected={null} critical={new Set()} now={0} captions={captions} toned select={() => undefined} />
    </section>
  )
}

const SIGNS: Record<string, string> = { added: "+", removed: "−", changed: "±" }

function Changes(props: { difference: Difference }) {
  const { changes } = props.difference
  if (changes.length === 0) return null
  const text = (value: unknown) => JSON.stringify(value, null, 1)
  return (
    <section class="panel flat">
      <header><h2>Changes</h2><span class="muted">{plural(changes.length, "change")}</span></header>
      <ul class="diff">
        {changes.map((one) => (
          <li key={`${one.path} ${one.kind}`}>
            <p><b aria-hidden="true">{SIGNS[one.kind]}</b> <span class="mono">{one.path.replace(/^\$\./, "")}</span> <span class="muted">{one.kind}</span></p>
            {one.kind !== "added" && <pre class="old"><span class="vh">Before: </span>{text(one.before)}</pre>}
            {one.kind !== "removed" && <pre class="new"><span class="vh">After: </span>{text(one.after)}</pre>}
          </li>
        ))}
      </ul>
    </section>
  )
}
