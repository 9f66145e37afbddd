// Small parts that several pages use.
import type { ComponentChildren } from "preact"
import { useState } from "preact/hooks"
import type { Problem } from "../api/client.ts"
import type { StepCounts } from "../api/types.ts"
import type { Look } from "../status.ts"
import { Glyph, Icon } from "./icons.tsx"
import { clock, exact } from "../state/time.ts"

export function Pill(props: { look: Look }) {
  return (
    <span class={`pill s-${props.look.tone}`}>
      <Glyph look={props.look} />
      {props.look.label}
    </span>
  )
}

export function Time(props: { at: string | number; class?: string; children?: ComponentChildren }) {
  const iso = new Date(props.at).toISOString()
  return (
    <time dateTime={iso} title={exact(props.at)} class={props.class ?? ""}>
      {props.children ?? clock(props.at)}
    </time>
  )
}

interface ButtonProps {
  icon?: string
  kind?: "pri" | "ghost" | "danger"
  small?: boolean
  disabledBecause?: string | null
  title?: string
  type?: "button" | "submit"
  onClick?: () => void
  children?: ComponentChildren
  label?: string
}

/** A button that stays visible when it cannot be used, and says why. */
export function Button(props: ButtonProps) {
  const reason = props.disabledBecause ?? null
  return (
    <button
      type={props.type ?? "button"}
      class={`btn ${props.kind ?? ""} ${props.small ? "sm" : ""}`}
      aria-disabled={reason !== null}
      aria-label={props.label}
      title={reason ?? props.title}
      onClick={(event) => {
        if (reason !== null) event.preventDefault()
        else props.onClick?.()
      }}
    >
      {props.icon && <Icon name={props.icon} />}
      {props.children}
    </button>
  )
}

export function IconButton(props: { icon: string; label: string; onClick: () => void; pressed?: boolean }) {
  return (
    <button
      type="button"
      class="icon"
      aria-label={props.label}
      title={props.label}
      aria-pressed={props.pressed}
      onClick={props.onClick}
    >
      <Icon name={props.icon} />
    </button>
  )
}

export function Empty(props: { icon: string; title: string; command?: string; children?: ComponentChildren; actions?: ComponentChildren }) {
  return (
    <div class="empty">
      <Icon name={props.icon} />
      <h2>{props.title}</h2>
      {props.children && <p>{props.children}</p>}
      {props.command && <code class="cmd">{props.command}</code>}
      {props.actions && <div class="row">{props.actions}</div>}
    </div>
  )
}

export function Loading(props: { what: string }) {
  return <p class="loading" role="status">Loading {props.what}…</p>
}

/** What stands in place of a page that cannot be shown. */
export function Failed(props: { problem: Problem; what: string; reload: () => void }) {
  const { problem } = props
  if (problem.status === 403 || problem.status === 401) {
    const permission = problem.more["permission"]
    return (
      <Empty icon="eye" title={`You do not have access to ${props.what}`}>
        {problem.detail} {typeof permission === "string" && <>Ask an administrator for the permission <b>{permission}</b>.</>}
      </Empty>
    )
  }
  if (problem.status === 404) {
    return (
      <Empty icon="find" title="Not found">
        {problem.detail} It may have been deleted at the end of its retention period, or it may belong to a namespace that you cannot access.
      </Empty>
    )
  }
  return (
    <Empty
      icon="fail"
      title={problem.status === 0 ? "The server is not responding" : `Cannot load ${props.what}`}
      actions={<Button icon="retry" onClick={props.reload}>Try again</Button>}
    >
      {problem.detail}
    </Empty>
  )
}

/** Above data that could not be loaded again. */
export function Stale(props: { problem: Problem | null; reload: () => void }) {
  if (!props.problem) return null
  return (
    <div class="notice" role="status">
      <Icon name="fail" />
      <span>Not up to date: {props.problem.detail}</span>
      <Button small onClick={props.reload}>Try again</Button>
    </div>
  )
}

type Segment = [tone: string, count: number]

function segmentsOf(counts: StepCounts): Segment[] {
  return [
    ["ok", counts.complete + counts.resolved_manually],
    ["skip", counts.skipped],
    ["run", counts.in_progress],
    ["park", counts.waiting],
    ["retry", counts.waiting_for_retry],
    ["err", counts.error],
    ["idle", counts.enqueued + counts.pending + counts.cancelled],
  ]
}

export function totalOf(counts: StepCounts): number {
  return segmentsOf(counts).reduce((sum, [, count]) => sum + count, 0)
}

export function doneOf(counts: StepCounts): number {
  return counts.complete + counts.resolved_manually + counts.skipped
}

/** The steps of a task by status: one mark each, or a bar if there are many. */
export function Progress(props: { counts: StepCounts }) {
  const segments = segmentsOf(props.counts)
  const total = totalOf(props.counts)
  if (total <= 6) {
    return (
      <span class="prog" aria-hidden="true">
        {segments.flatMap(([tone, count]) => Array.from({ length: count }, (_, no) => <i key={`${tone}${no}`} class={tone} />))}
      </span>
    )
  }
  return (
    <span class="prog bar" aria-hidden="true">
      {segments.map(([tone, count]) => count > 0 && <i key={tone} class={tone} style={{ width: `${(100 * count) / total}%` }} />)}
    </span>
  )
}

export function Copy(props: { text: string; label: string; children?: ComponentChildren; kind?: "ghost" }) {
  const [copied, setCopied] = useState(false)
  const copy = () => {
    void navigator.clipboard.writeText(props.text).then(() => {
      setCopied(true)
      setTimeout(() => setCopied(false), 1200)
    })
  }
  if (props.children) {
    return (
      <Button icon={copied ? "ok" : "copy"} title={props.label} onClick={copy} {...(props.kind ? { kind: props.kind } : {})}>
        {copied ? "Copied" : props.children}
      </Button>
    )
  }
  return <IconButton icon={copied ? "ok" : "copy"} label={copied ? "Copied" : props.label} onClick={copy} />
}

export function shortId(id: string): string {
  return id.slice(0, 13)
}

export function plural(count: number, noun: string, more = `${noun}s`): string {
  return `${count.toLocaleString("en")} ${count === 1 ? noun : more}`
}

export function Meter(props: { value: number; most: number }) {
  return (
    <span class="meter"><span class="prog bar" aria-hidden="true"><i class="run" style={{ width: `${Math.min(100, (100 * props.value) / Math.max(props.most, 1))}%` }} /></span>{props.value.toLocaleString("en")} of {props.most.toLocaleString("en")}</span>
  )
}
