// Small pictures of numbers over time.

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
