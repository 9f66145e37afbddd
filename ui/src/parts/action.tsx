// The dialog before an action: what will happen, why, how the command line does it, and one button that names it.
import { useState } from "preact/hooks"
import { Problem } from "../api/client.ts"
import { Button, Copy } from "./bits.tsx"
import { Dialog } from "./dialog.tsx"
import { Icon } from "./icons.tsx"

export interface Action {
  title: string
  /** What happens, a sentence each. */
  effects: string[]
  /** Names the act and how much it concerns, as in "Cancel 1 task". */
  button: string
  danger?: boolean
  needsReason?: boolean
  /** A result to be entered as JSON, with its first text. */
  result?: string
  /** A choice that the action takes, such as to count attempts anew. */
  option?: string
  command: (reason: string, result: string, option: boolean) => string
  run: (given: { reason: string; result: unknown; option: boolean }) => Promise<unknown>
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
  const [reason, setReason] = useState("")
  const [result, setResult] = useState(action.result ?? "")
  const [option, setOption] = useState(false)
  const [problem, setProblem] = useState<Problem | null>(null)
  const [busy, setBusy] = useState(false)
  const parsed = action.result === undefined ? { value: null, fault: null } : parse(result)
  const blocked = busy
    ? "in progress"
    : action.needsReason && !reason.trim()
      ? "enter a reason: the audit keeps it"
      : parsed.fault
  const submit = async () => {
    setBusy(true)
    setProblem(null)
    try {
      await action.run({ reason: reason.trim(), result: parsed.value, option })
      props.onDone()
    } catch (error) {
      setProblem(error instanceof Problem ? error : new Problem(0, "unexpected", String(error)))
    } finally {
      setBusy(false)
    }
  }
  const command = action.command(reason.trim(), result, option)
  return (
    <Dialog title={action.title} onClose={props.onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          if (blocked === null) void submit()
        }}
      >
        <div class="dlg-b">
          <section>
            <h3>What happens</h3>
            <ul class="effects">
              {action.effects.map((effect) => <li key={effect}><Icon name="right" />{effect}</li>)}
            </ul>
          </section>
          {action.result !== undefined && (
            <label class="field">
              Result, as JSON
              <textarea class="text mono" rows={5} value={result} aria-invalid={parsed.fault !== null} onInput={(event) => setResult(event.currentTarget.value)} />
              {parsed.fault && <span class="fault">{parsed.fault}</span>}
            </label>
          )}
          {action.option && (
            <label><input type="checkbox" checked={option} onChange={(event) => setOption(event.currentTarget.checked)} /> {action.option}</label>
          )}
          <label class="field">
            <span>Reason {action.needsReason ? <small>for the audit</small> : <small>optional, for the audit</small>}</span>
            <input class="text" value={reason} maxLength={4000} onInput={(event) => setReason(event.currentTarget.value)} />
          </label>
          {problem && (
            <p class="notice err" role="alert"><Icon name="fail" />{problem.detail}</p>
          )}
          <section>
            <h3>The same from the command line</h3>
            <div class="cmdline"><code class="json">{command}</code><Copy text={command} label="Copy the command" /></div>
          </section>
        </div>
        <div class="dlg-f">
          <Button onClick={props.onClose}>Back</Button>
          <Button kind={action.danger ? "danger" : "pri"} type="submit" disabledBecause={blocked}>{action.button}</Button>
        </div>
      </form>
    </Dialog>
  )
}

export function quoted(text: string): string {
  return /^[\w@%+=:,./^~-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}
