// The filters of a list as chips, and one field that adds another.
import { useRef, useState } from "preact/hooks"
import { route, setQuery } from "../router.ts"
import { createdIn, FILTERS, formatFilter, parseFilter } from "../state/filters.ts"
import { useKeys } from "../state/keys.ts"
import { clock } from "../state/time.ts"
import { Icon } from "./icons.tsx"

export function FilterBar() {
  const query = route.value.query
  const [text, setText] = useState("")
  const [open, setOpen] = useState(false)
  const [chosen, setChosen] = useState(-1)
  const field = useRef<HTMLInputElement>(null)
  useKeys({ "/": () => field.current?.focus() })
  const active = FILTERS.filter(({ key }) => query.has(key))
  const span = createdIn(query)
  const words = text.trim().toLowerCase()
  const offered = FILTERS.filter(({ label, key }) => !query.has(key) && (!words || label.startsWith(words)))
  const add = () => {
    const picked = chosen >= 0 ? offered[chosen] : undefined
    if (picked) {
      setText(`${picked.label}: `)
      setChosen(-1)
      return
    }
    const filter = parseFilter(text)
    if (!filter) return
    setText("")
    setOpen(false)
    setQuery({ [filter.key]: filter.value, ...(filter.key === "since" && { created_after: null, created_before: null }) })
  }
  return (
    <div class="q" role="search">
      <Icon name="find" />
      {active.map((kind) => {
        const value = query.get(kind.key) ?? ""
        return (
          <span class="chip" key={kind.key}>
            {kind.label} <b>{value}</b>
            <button type="button" aria-label={`Remove the filter ${kind.label} ${value}`} onClick={() => setQuery({ [kind.key]: null })}>
              <Icon name="x" />
            </button>
          </span>
        )
      })}
      {span && (
        <span class="chip">
          created <b>{span[0] ? clock(span[0]) : "before"}{span[1] ? `${span[0] ? " to" : ""} ${clock(span[1])}` : " or later"}</b>
          <button type="button" aria-label="Remove the filter created" onClick={() => setQuery({ created_after: null, created_before: null })}>
            <Icon name="x" />
          </button>
        </span>
      )}
      <input
        ref={field}
        role="combobox"
        aria-label="Add a filter"
        aria-expanded={open && offered.length > 0}
        aria-controls="filters"
        aria-activedescendant={chosen >= 0 ? `filter-${chosen}` : undefined}
        placeholder={active.length || span ? "Add a filter" : "Add a filter: workflow, tag, correlation, created by, error code"}
        value={text}
        onFocus={() => setOpen(true)}
        onBlur={() => setOpen(false)}
        onInput={(event) => {
          setText(event.currentTarget.value)
          setChosen(-1)
          setOpen(true)
        }}
        onKeyDown={(event) => {
          const last = active.at(-1)
          if (event.key === "Enter") add()
          else if (event.key === "ArrowDown") setChosen(Math.min(chosen + 1, offered.length - 1))
          else if (event.key === "ArrowUp") setChosen(Math.max(chosen - 1, -1))
          else if (event.key === "Escape") field.current?.blur()
          else if (event.key === "Backspace" && !text && last) {
            setText(formatFilter({ key: last.key, value: query.get(last.key) ?? "" }))
            setQuery({ [last.key]: null })
          } else return
          event.preventDefault()
        }}
      />
      <kbd class="narrow-hide">/</kbd>
      {open && offered.length > 0 && (
        <div class="menu filters" id="filters" role="listbox" aria-label="Filters" onPointerDown={(event) => event.preventDefault()}>
          {offered.map((kind, no) => (
            <button
              type="button"
              key={kind.key}
              id={`filter-${no}`}
              role="option"
              tabIndex={-1}
              aria-selected={no === chosen}
              onClick={() => {
                setText(`${kind.label}: `)
                field.current?.focus()
              }}
            >
              {kind.label}
              <small>{kind.hint}</small>
            </button>
          ))}
        </div>
      )}
    </div>
  )
}
