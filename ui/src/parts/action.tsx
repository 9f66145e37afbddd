// The dialog before an action: what will happen, why, how the command line does it, and one button that names it.
import type { ComponentChildren } from "preact"
import { useEffect, useState } from "preact/hooks"
import { Problem } from "../api/client.ts"
import { forgetDraft, useDraft } from "../state/drafts.ts"
import { contextOf, type FormField } from "../state/forms.ts"
import { Button, Copy } from "./bits.tsx"
import { Dialog } from "./dialog.tsx"
import { Field } from "./field.tsx"
import { Icon } from "./icons.tsx"

const AGAIN = 2_000 // milliseconds after which a server that did not answer is asked again

type Values = Record<string, unknown>

export interface Given {
  reason: string
  result: unknown
  option: boolean
  /** The values of the action's fields. */
  entered: Values
  etag: string | undefined
}

export interface Preview {
  effects: string[]
  /** Why the action would be refused. */
  refused?: string
  /** The state that was looked at: the action is refused if it has changed. */
  etag?: string
}

export interface Action {
  title: string
  /** What happens, a sentence each; from the values of its fields, if it depends on them. */
  effects: string[] | ((entered: Values) => string[])
  /** Asks the server what would happen; its sentences come after the effects. */
  preview?: (entered: Values, option: boolean) => Promise<Preview>
  fields?: FormField[]
  /** What one should know before deciding. */
  details?: ComponentChildren
  /** Names the act and how much it concerns, as in "Cancel 1 task". */
  button: string
  danger?: boolean
  needsReason?: boolean
  /** A result to be entered as JSON, with its first text. */
  result?: string
  /** A choice that the action takes, such as to count attempts anew. */
  option?: string
  /** Null: the command line cannot do it. */
  command: ((reason: string, result: string, option: boolean, entered: Values) => string) | null
  /** Whether a reason can be given; true if absent. */
  takesReason?: boolean
  run: (given: Given) => Promise<unknown>
}

function parse(text: string): { value: unknown; fault: string | null } {
  try {
    return { value: JSON.parse(text), fault: null }
  } catch (error) {
    return { value: null, fault: error instanceof Error ? error.message : String(error) }
  }
}

export function ActionDialog(props: { action: Action; onClose: () => void; onDone: () => void }) {
  const { action } = props
  const [reason, setReason] = useDraft(action.title, "reason", "")
  const [result, setResult] = useDraft(action.title, "result", action.result ?? "")
  const [option, setOption] = useDraft(action.title, "option", false)
  const [problem, setProblem] = useState<Problem | null>(null)
  const [busy, setBusy] = useState(false)
  const [texts, setTexts] = useDraft<Record<string, string>>(action.title, "texts", {})
  const [tried, setTried] = useState(false)
  const form = contextOf(action.fields ?? [], texts)
  const faults = Object.values(form.faults)
  const preview = usePreview(action, form.context, option, faults.length === 0)
  const parsed = action.result === undefined ? { value: null, fault: null } : parse(result)
  const blocked = busy
    ? "in progress"
    : action.needsReason && !reason.trim()
      ? "enter a reason for the audit log"
      : (parsed.fault ?? preview.problem?.detail ?? preview.refused ?? null)
  const submit = async () => {
    setTried(true)
    if (faults.length) return
    setBusy(true)
    setProblem(null)
    try {
      await action.run({ reason: reason.trim(), result: parsed.value, option, entered: form.context, etag: preview.etag })
      forgetDraft(action.title)
      props.onDone()
    } catch (error) {
      setProblem(error instanceof Problem ? error : new Problem(0, "unexpected", String(error)))
      if (error instanceof Problem && error.status === 412) preview.again()
    } finally {
      setBusy(false)
    }
  }
  const close = () => {
    forgetDraft(action.title)
    props.onClose()
  }
  const command = action.command?.(reason.trim(), result, option, form.context)
  const effects = typeof action.effects === "function" ? action.effects(form.context) : action.effects
  return (
    <Dialog title={action.title} onClose={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          if (blocked === null) void submit()
        }}
      >
        <div class="dlg-b">
          {action.details}
          {action.fields?.map((field) => (
            <Field key={field.name} field={field} text={texts[field.name] ?? field.initial} fault={tried ? (form.faults[field.name] ?? null) : null} set={(text) => setTexts({ ...texts, [field.name]: text })} />
          ))}
          <section aria-live="polite">
            <h3>What happens</h3>
            <ul class="effects">
              {[...effects, ...preview.effects].map((effect) => <li key={effect}><Icon name="right" /><span>{effect}</span></li>)}
            </ul>
            {preview.refused && <p class="fault">{preview.refused}</p>}
            {preview.problem && <p class="fault">{preview.problem.detail}</p>}
          </section>
          {action.result !== undefined && (
            <label class="field">
              Result as JSON
              <textarea class="text mono" rows={5} value={result} aria-invalid={parsed.fault !== null} onInput={(event) => setResult(event.currentTarget.value)} />
              {parsed.fault && <span class="fault">{parsed.fault}</span>}
            </label>
          )}
          {action.option && (
            <label><input type="checkbox" checked={option} onChange={(event) => setOption(event.currentTarget.checked)} /> {action.option}</label>
          )}
          {action.takesReason !== false && <label class="field">
            <span>Reason {action.needsReason ? <small>for the audit log</small> : <small>optional, for the audit log</small>}</span>
            <input class="text" value={reason} maxLength={4000} onInput={(event) => setReason(event.currentTarget.value)} />
          </label>}
          {problem && (
            <p class="notice err" role="alert"><Icon name="fail" />{problem.detail}</p>
          )}
          {command && <section>
            <h3>Equivalent command</h3>
            <div class="cmdline"><code class="json">{command}</code><Copy text={command} label="Copy the command" /></div>
          </section>}
        </div>
        <div class="dlg-f">
          <Button onClick={close}>Back</Button>
          <Button kind={action.danger ? "danger" : "pri"} type="submit" disabledBecause={blocked}>{action.button}</Button>
        </div>
      </form>
    </Dialog>
  )
}

interface Looked extends Preview {
  problem: Problem | null
}

/** What the server says that an action would do with what is entered now. */
function usePreview(action: Action, entered: Values, option: boolean, complete: boolean): Looked & { again: () => void } {
  const [state, setState] = useState<Looked>({ effects: [], problem: null })
  const [turn, setTurn] = useState(0)
  const key = JSON.stringify([entered, option])
  useEffect(() => {
    if (!state.problem?.temporary) return
    const timer = setTimeout(() => setTurn((before) => before + 1), AGAIN)
    return () => clearTimeout(timer)
  }, [state.problem])
  useEffect(() => {
    if (!action.preview || !complete) return setState({ effects: [], problem: null })
    let current = true
    const timer = setTimeout(() => {
      action.preview!(entered, option).then(
        (preview) => current && setState({ ...preview, problem: null }),
        (error: unknown) => current && setState({ effects: [], problem: error instanceof Problem ? error : new Problem(0, "unexpected", String(error)) }),
      )
    }, action.fields?.length ? 250 : 0)
    return () => {
      current = false
      clearTimeout(timer)
    }
  }, [key, complete, turn])
  return { ...state, again: () => setTurn(turn + 1) }
}

export function withReason(command: string, reason: string): string {
  return reason ? `${command} --reason ${quoted(reason)}` : command
}

export function quoted(text: string): string {
  return /^[\w@%+=:,./^~-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}
