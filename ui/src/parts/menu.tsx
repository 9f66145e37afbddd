// A button with a list that it opens. A click or the focus elsewhere closes the list, and so does Escape.
import type { ComponentChildren } from "preact"
import { useEffect, useRef, useState } from "preact/hooks"

interface Props {
  class: string
  button: string
  /** The name of a button that shows only an icon. */
  label?: string
  face: ComponentChildren
  children: (close: () => void) => ComponentChildren
}

export function Menu(props: Props) {
  const [open, setOpen] = useState(false)
  const box = useRef<HTMLDivElement>(null)
  const button = useRef<HTMLButtonElement>(null)
  useEffect(() => {
    if (!open) return
    const closeElsewhere = (event: Event) => event.target instanceof Node && event.target.isConnected && !box.current?.contains(event.target) && setOpen(false)
    document.addEventListener("pointerdown", closeElsewhere)
    document.addEventListener("focusin", closeElsewhere)
    return () => {
      document.removeEventListener("pointerdown", closeElsewhere)
      document.removeEventListener("focusin", closeElsewhere)
    }
  }, [open])
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Escape" || !open) return
    event.stopPropagation()
    setOpen(false)
    button.current?.focus()
  }
  return (
    <div class={props.class} ref={box} onKeyDown={onKeyDown}>
      <button type="button" ref={button} class={props.button} aria-label={props.label} title={props.label} aria-expanded={open} onClick={() => setOpen(!open)}>{props.face}</button>
      {open && <div class="menu">{props.children(() => setOpen(false))}</div>}
    </div>
  )
}
