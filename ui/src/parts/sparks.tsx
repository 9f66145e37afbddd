// Small pictures of numbers over time.
import type { Chart } from "../api/types.ts"
import { clock, duration } from "../state/time.ts"
import { TASK_LOOKS } from "../status.ts"

export function Bars(props: { values: readonly number[] }) {
  const most = Math.max(...props.values, 1)
  return (
    <svg class="bars" viewBox="0 0 80 22" width="80" height="22" aria-hidden="true">
      {props.values.map((value, no) => {
        const height = value ? Math.max(2.5, (20.4 * value) / most) : 1
        return <rect key={no} class={value ? "" : "none"} x={(no * 80) / props.values.length} y={22 - height} width={80 / props.values.length - 1.4} height={height} rx=".8" />
      })}
    </svg>
  )
}

const STATUSES = ["complete", "error", "cancelled"] as const
const TONES = { complete: "b-ok", error: "b-err", cancelled: "b-idle" }

/** Tasks that ended, by status, one bar for each point; each bar says its numbers. */
export function EndedChart(props: { chart: Chart; height: number }) {
  const { chart, height } = props
  const values = Object.fromEntries(chart.series.map((one) => [one.key, one.values]))
  const total = (at: number) => STATUSES.reduce((sum, status) => sum + (values[status]?.[at] ?? 0), 0)
  const points = Array.from({ length: chart.points }, (_, at) => at)
  const most = Math.max(...points.map(total), 1)
  const start = Date.parse(chart.start)
  const sums = STATUSES.map((status) => `${(values[status] ?? []).reduce((sum, one) => sum + one, 0).toLocaleString("en")} ${TASK_LOOKS[status]!.label.toLowerCase()}`)
  return (
    <div class="hist">
      <svg viewBox={`0 0 ${chart.points} ${height}`} preserveAspectRatio="none" role="img" aria-label={`Tasks that ended: ${sums.join(", ")}`}>
        {points.map((at) => {
          let top = height
          const parts = STATUSES.map((status) => {
            const part = ((values[status]?.[at] ?? 0) * (height - 1)) / most
            top -= part
            return part > 0 && <rect key={status} class={TONES[status]} x={at + 0.1} y={top} width={0.8} height={part} />
          })
          const numbers = STATUSES.filter((status) => values[status]?.[at]).map((status) => `${values[status]![at]} ${TASK_LOOKS[status]!.label.toLowerCase()}`)
          return <g key={at}><title>{`${clock(start + at * chart.step_seconds * 1000)}: ${numbers.join(", ") || "none"}`}</title><rect class="none" x={at} y={0} width={1} height={height} />{parts}</g>
        })}
      </svg>
      <p><span>{clock(start)}</span><span>most {most.toLocaleString("en")} in {duration(chart.step_seconds)}</span><span>{clock(start + chart.points * chart.step_seconds * 1000)}</span></p>
    </div>
  )
}
