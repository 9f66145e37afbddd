// When the listed tasks were created: drag over it to choose a span.
import { get, now, queryOf } from "../api/client.ts"
import type { Chart } from "../api/types.ts"
import { route, setQuery } from "../router.ts"
import { FILTERS, parseSpan } from "../state/filters.ts"
import { useResource } from "../state/resource.ts"
import { clock, duration } from "../state/time.ts"
import { useDraggedSpan } from "./drag.ts"

const DAY = 24
const MOST = 14 * DAY // hours that figures are kept
const HEIGHT = 44
const EVERY = 30_000
const COUNTED = ["name", "since"] // other filters cannot be applied to figures

export function CreatedChart() {
  const { query } = route.value
  const counted = FILTERS.every(({ key }) => COUNTED.includes(key) || !query.has(key))
  return counted ? <Shown /> : null
}

function Shown() {
  const { query } = route.value
  const [namespace, name] = [query.get("namespace"), query.get("name")]
  const since = parseSpan(query.get("since") ?? "")
  const from = Date.parse(query.get("created_after") ?? "")
  const wanted = since !== null ? since / 3600 : from ? Math.max(DAY, Math.ceil((now() - from) / 3_600_000)) : DAY
  const hours = Math.min(wanted, MOST)
  const charts = useResource(
    `created ${hours} ${namespace} ${name}`,
    (signal) => Promise.all(["created", "failed"].map((metric) => get<Chart>(`/v1/analytics/series${queryOf({ metric, hours, namespace, name })}`, signal))),
    EVERY,
  )
  const [created, failed] = charts.data ?? []
  return created && failed && created.series.length > 0 ? <Bars created={created} failed={failed} /> : null
}

function Bars(props: { created: Chart; failed: Chart }) {
  const { created, failed } = props
  const { query } = route.value
  const [from, to] = [Date.parse(query.get("created_after") ?? ""), Date.parse(query.get("created_before") ?? "")]
  const { points, step_seconds: step } = created
  const start = Date.parse(created.start)
  const made = created.series[0]!.values
  const bad = failed.points === points ? (failed.series[0]?.values ?? []) : []
  const most = Math.max(...made, ...bad, 1)
  const at = (time: number) => Math.max(0, Math.min(points, (time - start) / 1000 / step))
  const pointOf = (event: PointerEvent) => {
    const box = (event.currentTarget as Element).getBoundingClientRect()
    return Math.max(0, Math.min(points - 1, Math.floor(((event.clientX - box.left) / box.width) * points)))
  }
  const time = (point: number) => new Date(start + point * step * 1000).toISOString()
  const drag = useDraggedSpan(pointOf, (first, last) => setQuery({ since: null, created_after: time(first), created_before: time(last + 1) }))
  const chosen = drag.span ? [drag.span[0], drag.span[1] + 1] : from && to && !query.has("since") ? [at(from), at(to)] : null
  const sum = (values: readonly number[]) => values.reduce((total, one) => total + one, 0).toLocaleString("en")
  const bar = (value: number, point: number, tone: string) => {
    const height = (value * (HEIGHT - 1)) / most
    return value > 0 && <rect class={tone} x={point + 0.1} y={HEIGHT - height} width={0.8} height={height} />
  }
  return (
    <section class="hist narrow-hide">
      <svg
        viewBox={`0 0 ${points} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`${sum(made)} tasks created and ${sum(bad)} failed from ${clock(start)} to now`}
        {...drag.handlers}
      >
        {chosen && <rect class="chosen" x={chosen[0]} y={0} width={chosen[1]! - chosen[0]!} height={HEIGHT} />}
        {made.map((value, point) => (
          <g key={point}>
            <title>{`${clock(start + point * step * 1000)}: ${value} created, ${bad[point] ?? 0} failed`}</title>
            <rect class="none" x={point} y={0} width={1} height={HEIGHT} />
            {bar(value, point, "b-made")}
            {bar(bad[point] ?? 0, point, "b-err")}
          </g>
        ))}
      </svg>
      <p><span>{clock(start)}</span><span>Tasks created and failed per {duration(step)}; drag to select a period</span><span>now</span></p>
    </section>
  )
}
