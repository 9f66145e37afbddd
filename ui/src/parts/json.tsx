// JSON as a tree that folds; values are text, never markup.
import type { JSX } from "preact"

const LONG = 300 // characters of a string that are shown at once
const MANY = 100 // entries that are shown at once

function isMasked(value: unknown): value is { masked: true; type: string } {
  return typeof value === "object" && value !== null && "masked" in value && value.masked === true && "type" in value
}

/** Whether a part of a JSON value is masked. */
export function hasMasked(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false
  return isMasked(value) || Object.values(value).some(hasMasked)
}

function Value(props: { value: unknown; depth: number }): JSX.Element {
  const { value, depth } = props
  if (value === null) return <span class="lit">null</span>
  if (typeof value === "boolean") return <span class="lit">{String(value)}</span>
  if (typeof value === "number") return <span class="num">{value}</span>
  if (typeof value === "string") {
    if (value.length <= LONG) return <span class="str">{JSON.stringify(value)}</span>
    return (
      <details>
        <summary><span class="str">{JSON.stringify(value.slice(0, LONG))}</span> <span class="n">{value.length.toLocaleString("en")} characters</span></summary>
        <span class="str">{value}</span>
      </details>
    )
  }
  if (isMasked(value)) return <span class="muted">masked {value.type}</span>
  const isList = Array.isArray(value)
  const entries: [string, unknown][] = isList ? value.map((one, no) => [String(no), one]) : Object.entries(value as object)
  const [open, close] = isList ? ["[", "]"] : ["{", "}"]
  if (entries.length === 0) return <span>{open}{close}</span>
  return (
    <details open={depth < 2 && entries.length <= 20}>
      <summary>{open} <span class="n">{entries.length.toLocaleString("en")}</span> {close}</summary>
      <Entries entries={entries} isList={isList} depth={depth} />
    </details>
  )
}

function Entries(props: { entries: [string, unknown][]; isList: boolean; depth: number }) {
  return (
    <div class={props.depth >= 0 ? "in" : ""}>
      {props.entries.slice(0, MANY).map(([key, one]) => (
        <div key={key}>
          <span class="k">{key}: </span>
          <Value value={one} depth={props.depth + 1} />
        </div>
      ))}
      {props.entries.length > MANY && <span class="n">and {(props.entries.length - MANY).toLocaleString("en")} more</span>}
    </div>
  )
}

export function Json(props: { value: unknown; label: string }) {
  const { value } = props
  const isObject = value !== null && typeof value === "object" && !isMasked(value)
  return (
    <div class="json" role="group" tabIndex={0} aria-label={props.label}>
      {isObject && Object.keys(value).length > 0 ? (
        <Entries entries={Object.entries(value)} isList={Array.isArray(value)} depth={-1} />
      ) : (
        <Value value={value} depth={0} />
      )}
    </div>
  )
}
