// The page's colours as canvases and files need them: resolved, in the theme that is shown.
import { useEffect, useMemo, useState } from "preact/hooks"
import { theme } from "../state/shell.ts"

export type Colours = (name: string) => string

/** Look colours up by their names in tokens.css. */
export function resolvedColours(): Colours {
  const probe = document.createElement("span")
  const known = new Map<string, string>()
  return (name) => {
    let value = known.get(name)
    if (!value) {
      probe.style.color = `var(--${name})`
      document.body.append(probe)
      value = getComputedStyle(probe).color
      probe.remove()
      known.set(name, value)
    }
    return value
  }
}

/** The colours, which change with the theme. */
export function useColours(): Colours {
  const system = useMemo(() => matchMedia("(prefers-color-scheme: dark)"), [])
  const [dark, setDark] = useState(system.matches)
  useEffect(() => {
    const follow = () => setDark(system.matches)
    system.addEventListener("change", follow)
    return () => system.removeEventListener("change", follow)
  }, [])
  return useMemo(resolvedColours, [theme.value, dark])
}
