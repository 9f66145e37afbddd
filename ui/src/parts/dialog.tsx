// Dialogs: the browser's own, so that focus, Escape and the layer above everything come with it.
import type { ComponentChildren } from "preact"
import { useEffect, useRef } from "preact/hooks"
import { IconButton } from "./bits.tsx"

export function Dialog(props: { title: string; class?: string; onClose: () => void; bare?: boolean; children: ComponentChildren }) {
  const ref = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    const dialog = ref.current
    const before = document.activeElement
    if (dialog && !dialog.open) dialog.showModal()
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus()
    }
  }, [])
  return (
    <dialog
      ref={ref}
      class={props.class ?? ""}
      aria-label={props.title}
      onCancel={(event) => {
        event.preventDefault()
        props.onClose()
      }}
      onKeyDown={(event) => event.key === "Escape" && event.stopPropagation()}
      onClick={(event) => event.target === ref.current && props.onClose()}
    >
      {props.bare ? (
        props.children
      ) : (
        <div class="dlg">
          <div class="dlg-h">
            <h2>{props.title}</h2>
            <IconButton icon="x" label="Close" onClick={props.onClose} />
          </div>
          {props.children}
        </div>
      )}
    </dialog>
  )
}
