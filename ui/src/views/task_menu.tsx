// What can be copied of a task: the commands that read it, and its data.
import { useEffect, useState } from "preact/hooks"
import { get } from "../api/client.ts"
import { Icon } from "../parts/icons.tsx"
import { Menu } from "../parts/menu.tsx"
import { base } from "../router.ts"

const SHOWN = 1200 // milliseconds
const ICONS = { "": "dots", Copied: "ok", "Copy failed": "fail" }

export function TaskMenu(props: { id: string }) {
  const { id } = props
  const [outcome, setOutcome] = useState<keyof typeof ICONS>("")
  useEffect(() => {
    if (!outcome) return
    const timer = setTimeout(() => setOutcome(""), SHOWN)
    return () => clearTimeout(timer)
  }, [outcome])
  const copies: [label: string, textOf: () => Promise<string>][] = [
    ["Copy as CLI", async () => `tasker task show ${id}`],
    ["Copy as curl", async () => `curl ${location.origin}${base}/v1/tasks/${id} -H "Authorization: Bearer $TASKER_API_KEY"`],
    ["Copy as JSON", async () => JSON.stringify(await get<unknown>(`/v1/tasks/${id}`), null, 2)],
  ]
  return (
    <>
      <span class="vh" role="status">{outcome}</span>
      <Menu class="more-box" button="icon" label={outcome || "More"} face={<Icon name={ICONS[outcome]} />}>
        {(close) => copies.map(([label, textOf]) => (
          <button type="button" key={label} onClick={() => { close(); write(textOf()).then(() => setOutcome("Copied"), () => setOutcome("Copy failed")) }}>
            <Icon name="copy" />{label}
          </button>
        ))}
      </Menu>
    </>
  )
}

/** Write a text to the clipboard that may still have to be loaded: browsers accept it only as part of a click. */
async function write(text: Promise<string>): Promise<void> {
  const content = text.then((one) => new Blob([one], { type: "text/plain" }))
  await navigator.clipboard.write([new ClipboardItem({ "text/plain": content })])
}
