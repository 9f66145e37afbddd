// Single keys and short sequences. They are off in fields, and can be switched off altogether.
import { useEffect, useRef } from "preact/hooks"

export type Bindings = Record<string, (event: KeyboardEvent) => void>

const layers: Bindings[] = []
let pending = ""
let timer: ReturnType<typeof setTimeout> | undefined

export function singleKeysEnabled(): boolean {
  return localStorage.getItem("tasker.keys") !== "off"
}

export function enableSingleKeys(on: boolean): void {
  if (on) localStorage.removeItem("tasker.keys")
  else localStorage.setItem("tasker.keys", "off")
}

function isField(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(input|textarea|select)$/i.test(target.tagName))
}

/** Whether the browser uses a key itself: Enter activates a link or a button that has the focus. */
function activates(name: string, target: EventTarget | null): boolean {
  return name === "Enter" && target instanceof Element && target.closest("a, button, summary") !== null
}

function nameOf(event: KeyboardEvent): string {
  if ((event.metaKey || event.ctrlKey) && event.key.toLowerCase() === "k") return "mod+k"
  if (event.metaKey || event.ctrlKey || event.altKey) return ""
  return event.key === " " ? "Space" : event.key
}

export function startKeys(): void {
  document.addEventListener("keydown", (event) => {
    const name = nameOf(event)
    if (!name || event.defaultPrevented || activates(name, event.target)) return
    if (name !== "mod+k" && name !== "Escape" && (isField(event.target) || !singleKeysEnabled())) return
    clearTimeout(timer)
    for (const sequence of pending ? [`${pending} ${name}`, name] : [name]) {
      for (const layer of [...layers].reverse()) {
        const action = layer[sequence]
        if (!action) continue
        pending = ""
        event.preventDefault()
        action(event)
        return
      }
    }
    pending = name === "g" ? name : ""
    if (pending) timer = setTimeout(() => (pending = ""), 1200)
  })
}

/** Bind keys while a component is shown; the component shown last comes first. */
export function useKeys(bindings: Bindings): void {
  const current = useRef(bindings)
  current.current = bindings
  useEffect(() => {
    const layer: Bindings = new Proxy(
      {},
      { get: (_, name) => (typeof name === "string" ? current.current[name] : undefined) },
    )
    layers.push(layer)
    return () => {
      layers.splice(layers.indexOf(layer), 1)
    }
  }, [])
}
