// The menu of saved views: named filters of the list of tasks.
import { useEffect, useState } from "preact/hooks"
import { session } from "../api/client.ts"
import { base, href, route } from "../router.ts"
import { filtersOf, LONGEST_NAME, MOST_VIEWS, parseViews, without, withView, type SavedView } from "../state/views.ts"
import { Button, IconButton } from "./bits.tsx"
import { Icon } from "./icons.tsx"
import { Menu } from "./menu.tsx"

export function SavedViews() {
  const [, setTurn] = useState(0)
  const readAgain = () => setTurn((before) => before + 1)
  useEffect(() => {
    addEventListener("storage", readAgain) // another tab has changed them
    return () => removeEventListener("storage", readAgain)
  }, [])
  const key = `tasker.views ${base} ${session.value?.name ?? ""}`
  const views = parseViews(localStorage.getItem(key))
  const filters = filtersOf(route.value.query)
  const current = views.find((view) => view.query === filters)
  const keep = (changed: SavedView[]) => {
    localStorage.setItem(key, JSON.stringify(changed))
    readAgain()
  }
  const face = <><span class="ell">{current?.name ?? "Saved views"}</span><Icon name="chev" /></>
  return (
    <Menu class="views" button="btn" face={face}>
      {(close) => (
        <>
          {views.length > 0 && (
            <ul aria-label="Saved views">
              {views.map((view) => (
                <li key={view.name}>
                  <a class="ell" href={href(`/tasks?${view.query}`)} aria-current={view === current ? "true" : undefined} onClick={close}>{view.name}</a>
                  <IconButton icon="x" label={`Delete the view ${view.name}`} onClick={() => keep(without(views, view.name))} />
                </li>
              ))}
            </ul>
          )}
          <NewView views={views} filters={filters} save={(view) => { keep(withView(views, view)); close() }} />
        </>
      )}
    </Menu>
  )
}

function NewView(props: { views: readonly SavedView[]; filters: string; save: (view: SavedView) => void }) {
  const { views, filters } = props
  const [text, setText] = useState("")
  const name = text.trim()
  const replaces = views.some((view) => view.name === name)
  const refused = !filters
    ? "choose a filter or a status first"
    : !name
      ? "enter a name"
      : !replaces && views.length >= MOST_VIEWS
        ? `at most ${MOST_VIEWS} views can be saved: delete one first`
        : null
  const submit = (event: Event) => {
    event.preventDefault()
    if (refused === null) props.save({ name, query: filters })
  }
  return (
    <form onSubmit={submit}>
      <label for="view-name">Save the current filters as</label>
      <div class="name">
        <input id="view-name" class="text" value={text} maxLength={LONGEST_NAME} autocomplete="off" onInput={(event) => setText(event.currentTarget.value)} />
        <Button type="submit" kind="pri" disabledBecause={refused}>{replaces ? "Replace" : "Save"}</Button>
      </div>
      <p class="muted">{refused ? `${refused[0]!.toUpperCase()}${refused.slice(1)}.` : "Stored in this browser, for your user only."}</p>
    </form>
  )
}
