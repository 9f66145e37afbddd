// One field of a form: its label, its input, and below it what is wrong or what it means.
import type { FormField } from "../state/forms.ts"

export function Field(props: { field: FormField; text: string; fault: string | null; set: (text: string) => void }) {
  const { field, text, fault } = props
  const id = `field-${field.name}`
  const common = { id, value: text, "aria-invalid": fault !== null, "aria-describedby": `${id}-help` }
  return (
    <div class="field-box">
      <label for={id}><b>{field.label}</b> {!field.required && <small class="muted">optional</small>}</label>
      {field.kind === "choice" || field.kind === "boolean" ? (
        <select class="text" {...common} onChange={(event) => props.set(event.currentTarget.value)}>
          {(!field.required || !field.initial) && <option value="" />}
          {field.choices.map((choice) => <option key={choice} value={choice}>{choice}</option>)}
        </select>
      ) : field.kind === "json" ? (
        <textarea class="text mono" rows={3} {...common} onInput={(event) => props.set(event.currentTarget.value)} />
      ) : field.kind === "time" ? (
        <input class="text" type="datetime-local" step={1} {...common} onInput={(event) => props.set(event.currentTarget.value)} />
      ) : (
        <input class="text" inputMode={field.kind === "text" ? "text" : "decimal"} {...common} onInput={(event) => props.set(event.currentTarget.value)} />
      )}
      <span id={`${id}-help`} class={fault ? "fault" : "muted"}>{fault ?? field.help}</span>
    </div>
  )
}
