// Actions on many tasks: a dry run first, then an operation that servers and workers carry on at a pace.
import { signal } from "@preact/signals"
import { post } from "../api/client.ts"
import type { BulkOperation, BulkPreview } from "../api/types.ts"
import { quoted, type Action } from "../parts/action.tsx"
import { plural } from "../parts/bits.tsx"
import { fieldOf } from "./forms.ts"

export type Verb = "retry" | "resolve" | "cancel"

/** Either ids, or filters as `POST /v1/bulk` takes them. */
export type Scope = { ids: string[] } | { filter: Record<string, unknown> }

/** The operations that this tab has started: shown until their outcome is dismissed. */
export const started = signal<readonly string[]>([])

const EFFECTS: Record<Verb, string[]> = {
  retry: ["Their failed steps get another attempt; completed steps do not run again."],
  resolve: ["The tasks are marked as resolved.", "This cannot be undone."],
  cancel: ["No more of their steps start; the results of running steps are discarded.", "This cannot be undone."],
}

const SHOWN = 5 // templates that the dialog names

export function countOf(operation: { matches: number; exact: boolean }): string {
  return `${operation.exact ? "" : "at least "}${plural(operation.matches, "task")}`
}

/** The dry run in sentences: how many of which workflows, and what would be rejected. */
function sentencesOf(preview: BulkPreview): string[] {
  const templates = Object.entries(preview.by_template)
  const rest = templates.slice(SHOWN).reduce((sum, [, count]) => sum + count, 0)
  return [
    `Affects ${countOf(preview)}${templates.length === 1 ? ` of ${templates[0]![0]}` : ""}.`,
    ...(templates.length === 1 ? [] : templates).slice(0, SHOWN).map(([name, count]) => `${plural(count, "task")} of ${name}.`),
    ...(rest ? [`${plural(rest, "task")} of ${plural(templates.length - SHOWN, "other workflow")}.`] : []),
    ...Object.entries(preview.rejected).map(([code, count]) => `${plural(count, "task")} will be rejected: ${code.replaceAll("_", " ")}.`),
  ]
}

/**
 * An action on the tasks of a scope.
 * @param count - How many there seem to be, for the button; the dry run says exactly.
 * @param command - The same from the command line, with its reason and pace to come; null: it cannot.
 */
export function bulkAction(verb: Verb, scope: Scope, count: string, command: string | null): Action {
  const label = verb[0]!.toUpperCase() + verb.slice(1)
  const tokens = new Map<boolean, string>()
  const body = (option: boolean) => ({ action: verb, ...scope, ...(verb === "retry" ? { reset_attempts: option } : {}) })
  return {
    title: `${label} ${count}`,
    effects: [],
    preview: async (_, option) => {
      const preview = await post<BulkPreview>("/v1/bulk", { ...body(option), dry_run: true })
      tokens.set(option, preview.token)
      return { effects: [...sentencesOf(preview), ...EFFECTS[verb], "The tasks are processed from the newest to the oldest. You can stop the operation."] }
    },
    fields: [fieldOf("per_second", "Tasks per second", { kind: "number", initial: "100", required: true, help: "0.01 to 1,000; choose a rate that the systems called by the steps can handle" })],
    button: `${label} ${count}`,
    danger: verb === "cancel",
    needsReason: verb !== "retry",
    ...(verb === "retry" ? { option: "Allow the full number of attempts again, instead of one more" } : {}),
    command: command === null ? null : (reason, _, all, entered) => `${command}${all ? " --reset-attempts" : ""} --per-second ${entered["per_second"] ?? 100}${reason ? ` --reason ${quoted(reason)}` : ""}`,
    run: async ({ reason, option, entered }) => {
      const operation = await post<BulkOperation>("/v1/bulk", { ...body(option), per_second: entered["per_second"], reason, token: tokens.get(option) })
      started.value = [operation.id, ...started.value]
    },
  }
}
