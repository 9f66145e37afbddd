// The palette: pages, tasks by id, workflows by name, and what can be done anywhere.
import { useEffect, useRef, useState } from "preact/hooks"
import { get, queryOf } from "../api/client.ts"
import type { SearchMatch, SearchMatches } from "../api/types.ts"
import { navigate } from "../router.ts"
import { setTheme } from "../state/shell.ts"
import { live } from "../state/resource.ts"
import { enableSingleKeys, singleKeysEnabled } from "../state/keys.ts"
import { Dialog } from "./dialog.tsx"
import { ENTRIES, visible, within } from "./entries.ts"
import { Icon } from "./icons.tsx"

interface Choice {
  label: string
  hint: string
  icon: string
  act: () => void
}

function fixedChoices(): Choice[] {
  return [
    ...ENTRIES.filter(visible).map((entry) => ({
      label: entry.label,
      hint: "Go to",
      icon: entry.icon,
      act: () => navigate(within(entry.path)),
    })),
    { label: "Failed tasks", hint: "Go to", icon: "fail", act: () => navigate("/tasks?status=error") },
    { label: "Light theme", hint: "Appearance", icon: "theme", act: () => setTheme("light") },
    { label: "Dark theme", hint: "Appearance", icon: "theme", act: () => setTheme("dark") },
    { label: "System theme", hint: "Appearance", icon: "theme", act: () => setTheme("system") },
    {
      label: live.value ? "Pause updates" : "Resume updates",
      hint: "Live",
      icon: "pause",
      act: () => (live.value = !live.value),
    },
  ]
}

const ICONS: Record<string, string> = { task: "tasks", workflow: "flow", namespace: "ns", worker: "worker" }
const LEAST = 2 // characters of a search

/** What the server finds for what was typed, a moment after the last key. */
function useMatches(query: string): Choice[] {
  const [found, setFound] = useState<SearchMatch[]>([])
  useEffect(() => {
    if (query.length < LEAST) return setFound([])
    const abort = new AbortController()
    const timer = setTimeout(() => {
      get<SearchMatches>(`/v1/search${queryOf({ q: query })}`, abort.signal).then(({ matches }) => setFound(matches), () => setFound([]))
    }, 120)
    return () => {
      abort.abort()
      clearTimeout(timer)
    }
  }, [query])
  return found.map((one) => ({ label: one.title ?? one.name, hint: `${one.kind[0]!.toUpperCase()}${one.kind.slice(1)}, ${one.detail}`.replace(/, $/, ""), icon: ICONS[one.kind] ?? "find", act: () => navigate(one.path) }))
}

export function Palette(props: { onClose: () => void }) {
  const [text, setText] = useState("")
  const [chosen, setChosen] = useState(0)
  const list = useRef<HTMLUListElement>(null)
  const query = text.trim()
  useEffect(() => setChosen(0), [query])
  const matches = useMatches(query)
  const words = query.toLowerCase()
  const choices = [...fixedChoices().filter((one) => one.label.toLowerCase().includes(words)), ...matches]
  const run = (choice: Choice | undefined) => {
    if (!choice) return
    props.onClose()
    choice.act()
  }
  const move = (by: number) => {
    const next = (chosen + by + choices.length) % Math.max(choices.length, 1)
    setChosen(next)
    list.current?.children[next]?.scrollIntoView({ block: "nearest" })
  }
  return (
    <Dialog title="Search or jump to…" class="palette" bare onClose={props.onClose}>
      <input
        autoFocus
        role="combobox"
        aria-expanded="true"
        aria-controls="palette-list"
        aria-activedescendant={choices.length ? `palette-${chosen}` : undefined}
        aria-label="Search or jump to…"
        placeholder="Task id, workflow, page…"
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "ArrowDown") move(1)
          else if (event.key === "ArrowUp") move(-1)
          else if (event.key === "Enter") run(choices[chosen])
          else return
          event.preventDefault()
        }}
      />
      <ul role="listbox" id="palette-list" aria-label="Choices" ref={list}>
        {choices.map((choice, no) => (
          <li
            key={no}
            id={`palette-${no}`}
            role="option"
            aria-selected={no === chosen}
            onClick={() => run(choice)}
            onMouseMove={() => setChosen(no)}
          >
            <Icon name={choice.icon} />
            <span class="ell">{choice.label}</span>
            <small class="ell">{choice.hint}</small>
          </li>
        ))}
      </ul>
      {choices.length === 0 && <p class="more">No matches.</p>}
    </Dialog>
  )
}

const KEYS: [keys: string, what: string][] = [
  ["Ctrl K", "search or jump to…"],
  ["/", "filter the list"],
  ["g h", "home"],
  ["g t", "tasks"],
  ["g f", "failures"],
  ["g w", "workflows"],
  ["g a", "approvals"],
  ["g s", "schedules"],
  ["g l", "limits"],
  ["g e", "events"],
  ["g n", "namespaces"],
  ["g k", "workers"],
  ["j", "next"],
  ["k", "previous"],
  ["Enter", "open"],
  ["x", "select"],
  ["Shift X", "select the range up to here"],
  ["1 2 3 4", "views: both, graph, timeline, table"],
  ["[ ]", "previous step, next step"],
  ["f", "next failed step"],
  ["z", "zoom to the selected step"],
  ["e", "retry"],
  ["c", "cancel"],
  ["r", "resolve"],
  ["y", "copy the link"],
  [".", "pause updates"],
  ["Esc", "close"],
]

export function Help(props: { onClose: () => void }) {
  const [enabled, setEnabled] = useState(singleKeysEnabled())
  return (
    <Dialog title="Keyboard shortcuts" onClose={props.onClose}>
      <div class="dlg-b">
        <dl class="keys">
          {KEYS.map(([keys, what]) => (
            <>
              <dt>{keys.split(" ").map((key) => <kbd>{key}</kbd>)}</dt>
              <dd>{what}</dd>
            </>
          ))}
        </dl>
        <label>
          <input
            type="checkbox"
            checked={enabled}
            onChange={(event) => {
              enableSingleKeys(event.currentTarget.checked)
              setEnabled(event.currentTarget.checked)
            }}
          />{" "}
          Enable single-key shortcuts
        </label>
      </div>
    </Dialog>
  )
}
