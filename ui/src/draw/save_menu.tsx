// The menu that saves a graph as a file.
import { Icon } from "../parts/icons.tsx"
import { Menu } from "../parts/menu.tsx"
import { resolvedColours } from "./colours.ts"
import { save, type Drawing, type Format } from "./export.ts"

const FORMATS: [Format, string][] = [["svg", "SVG"], ["png", "PNG"], ["mermaid", "Mermaid"]]

export function SaveMenu(props: { name: string; drawing: Drawing }) {
  const choose = (format: Format) => void save(props.drawing, format, props.name, resolvedColours())
  return (
    <Menu class="save" button="icon" label="Save the graph" face={<Icon name="shot" />}>
      {(close) => FORMATS.map(([format, label]) => <button type="button" key={format} onClick={() => { close(); choose(format) }}>{label}</button>)}
    </Menu>
  )
}
