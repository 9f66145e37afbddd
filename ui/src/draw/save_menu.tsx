// The menu that saves a graph as a file.
import { useState } from "preact/hooks"
import { Icon } from "../parts/icons.tsx"
import { resolvedColours } from "./colours.ts"
import { save, type Drawing, type Format } from "./export.ts"

const FORMATS: [Format, string][] = [["svg", "SVG"], ["png", "PNG"], ["mermaid", "Mermaid"]]

export function SaveMenu(props: { name: string; drawing: Drawing }) {
  const [open, setOpen] = useState(false)
  const choose = (format: Format) => {
    setOpen(false)
    void save(props.drawing, format, props.name, resolvedColours())
  }
  return (
    <div class="save" onKeyDown={(event) => event.key === "Escape" && open && (event.stopPropagation(), setOpen(false))}>
      <button type="button" class="icon" aria-label="Save the graph" title="Save the graph" aria-expanded={open} onClick={() => setOpen(!open)}><Icon name="shot" /></button>
      {open && <div class="menu">{FORMATS.map(([format, label]) => <button type="button" key={format} onClick={() => choose(format)}>{label}</button>)}</div>}
    </div>
  )
}
