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

/** A line over time, without numbers: they stand beside it. */
export function Spark(props: { values: readonly number[]; bad?: boolean }) {
  const { values } = props
  const most = Math.max(...values, 0)
  if (values.length < 2 || most === 0) return null
  const line = values.map((value, at) => `${((at * 120) / (values.length - 1)).toFixed(1)} ${(25 - (23 * value) / most).toFixed(1)}`).join("L")
  return (
    <svg class={`spark${props.bad ? " bad" : ""}`} viewBox="0 0 120 26" preserveAspectRatio="none" aria-hidden="true">
      <path class="area" d={`M0 26L${line}L120 26Z`} />
      <path class="line" d={`M${line}`} />
    </svg>
  )
}

const CELLS = 48

/** How busy it was over time, a cell for each span: the darker the busier, crossed where something failed. */
export function Strip(props: { ended: readonly number[]; failed: readonly number[]; label: string }) {
  const cell = (values: readonly number[], at: number) => {
    const [from, to] = [at, at + 1].map((edge) => Math.round((edge * values.length) / CELLS)) as [number, number]
    return values.slice(from, to).reduce((sum, one) => sum + one, 0)
  }
  const cells = Array.from({ length: CELLS }, (_, at) => [cell(props.ended, at), cell(props.failed, at)] as const)
  const most = Math.max(...cells.map(([ended]) => ended), 1)
  return (
    <svg class="strip" viewBox={`0 0 ${CELLS * 10} 18`} preserveAspectRatio="none" role="img" aria-label={props.label}>
      {cells.map(([ended, failed], at) => (
        <g key={at}>
          <rect x={at * 10} width="8.6" height="18" rx="1.5" class={failed ? "bad" : ended ? "" : "none"} fill-opacity={failed || !ended ? 1 : 0.18 + (0.82 * ended) / most} />
          {failed > 0 && <path d={`M${at * 10 + 2.8} 7l3 4m0-4l-3 4`} />}
        </g>
      ))}
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
      <p><span>{clock(start)}</span><span>peak: {most.toLocaleString("en")} in {duration(chart.step_seconds)}</span><span>{clock(start + chart.points * chart.step_seconds * 1000)}</span></p>
    </div>
  )
}
