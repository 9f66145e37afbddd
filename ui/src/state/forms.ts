// Forms from JSON Schema: the fields that can be shown as such; the rest is entered as JSON.

/** Whether fields for times hold UTC. */
export const utc = { value: true }

export interface FormField {
  name: string
  label: string
  help: string
  required: boolean
  kind: "text" | "number" | "integer" | "boolean" | "choice" | "json" | "time"
  choices: string[]
  initial: string
}

interface Schema {
  type?: unknown
  enum?: unknown
  format?: unknown
  title?: unknown
  description?: unknown
  default?: unknown
  properties?: Record<string, Schema>
  required?: unknown
}

/** The fields of an object's schema; null where it is not one of an object with properties. */
export function fieldsOf(schema: Record<string, unknown> | null): FormField[] | null {
  const { properties, required } = (schema ?? {}) as Schema
  if (!properties || typeof properties !== "object") return null
  const needed = Array.isArray(required) ? required : []
  return Object.entries(properties).map(([name, property]) => ({
    name,
    label: typeof property.title === "string" ? property.title : name,
    help: typeof property.description === "string" ? property.description : "",
    required: needed.includes(name),
    ...kindOf(property),
    initial: property.default === undefined ? "" : textOf(property.default),
  }))
}

function kindOf(property: Schema): Pick<FormField, "kind" | "choices"> {
  if (Array.isArray(property.enum) && property.enum.every((one) => typeof one === "string")) return { kind: "choice", choices: property.enum }
  switch (property.type) {
    case "string": return { kind: property.format === "date-time" ? "time" : "text", choices: [] }
    case "number": return { kind: "number", choices: [] }
    case "integer": return { kind: "integer", choices: [] }
    case "boolean": return { kind: "boolean", choices: ["true", "false"] }
    default: return { kind: "json", choices: [] }
  }
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value)
}

/** A field of a form that no schema describes. */
export function fieldOf(name: string, label: string, given: Partial<FormField> = {}): FormField {
  return { name, label, help: "", required: false, kind: "text", choices: [], initial: "", ...given }
}

/** The instant of what a field for times holds, which is in the zone in which times are shown. */
function timeOf(text: string): string | null {
  const time = Date.parse(utc.value ? `${text}Z` : text)
  return Number.isNaN(time) ? null : new Date(time).toISOString()
}

export interface Entered {
  context: Record<string, unknown>
  faults: Record<string, string>
}

/** What was entered, as a context; empty fields are left out. */
export function contextOf(fields: readonly FormField[], texts: Readonly<Record<string, string>>): Entered {
  const context: Record<string, unknown> = {}
  const faults: Record<string, string> = {}
  for (const field of fields) {
    const text = texts[field.name] ?? field.initial
    if (text.trim() === "") {
      if (field.required) faults[field.name] = "is required"
      continue
    }
    switch (field.kind) {
      case "number":
      case "integer": {
        const value = Number(text)
        if (!Number.isFinite(value)) faults[field.name] = "must be a number"
        else if (field.kind === "integer" && !Number.isInteger(value)) faults[field.name] = "must be a whole number"
        else context[field.name] = value
        break
      }
      case "boolean":
        context[field.name] = text === "true"
        break
      case "time": {
        const time = timeOf(text)
        if (time === null) faults[field.name] = "must be a date and a time"
        else context[field.name] = time
        break
      }
      case "json":
        try {
          context[field.name] = JSON.parse(text)
        } catch {
          faults[field.name] = "must be JSON"
        }
        break
      default:
        context[field.name] = text
    }
  }
  return { context, faults }
}
