// Icons (16 px, drawn in lines) and status glyphs (14 px, told apart by shape as well as by colour).
import type { ComponentChildren } from "preact"
import { stepLook, type Look } from "../status.ts"

const ICONS: Record<string, () => ComponentChildren> = {
  "ok": () => <><path d="m3 8.3 3.2 3.2L13 4.8"/></>,
  "home": () => <><path d="M2.5 7 8 2.5 13.5 7v6a.5.5 0 0 1-.5.5H10V9.5H6v4H3a.5.5 0 0 1-.5-.5z"/></>,
  "tasks": () => <><path d="M6 4h7.5M6 8h7.5M6 12h7.5M2.5 4h.01M2.5 8h.01M2.5 12h.01"/></>,
  "fail": () => <><path d="M8 2 14.2 13H1.8zM8 6.2v3M8 11.3v.01"/></>,
  "approve": () => <><path d="M13.5 7.3V8A5.5 5.5 0 1 1 10.2 3M13.5 3.5 8 9 6.2 7.2"/></>,
  "flow": () => <><rect x="1.8" y="5.8" width="4.4" height="4.4" rx="1"/><rect x="10" y="1.8" width="4.2" height="4.2" rx="1"/><rect x="10" y="10" width="4.2" height="4.2" rx="1"/><path d="M6.2 8h1.3c1 0 .8-4.1 2.5-4.1M7.5 8c1 0 .8 4.1 2.5 4.1"/></>,
  "cal": () => <><rect x="2.2" y="3.2" width="11.6" height="10.6" rx="1.5"/><path d="M2.2 6.6h11.6M5.4 1.8v2.6M10.6 1.8v2.6"/></>,
  "worker": () => <><rect x="2" y="2.5" width="12" height="4.5" rx="1"/><rect x="2" y="9" width="12" height="4.5" rx="1"/><path d="M4.6 4.8h.01M4.6 11.2h.01"/></>,
  "ns": () => <><path d="M2 4.5V12a1 1 0 0 0 1 1h10a1 1 0 0 0 1-1V5.8a1 1 0 0 0-1-1H8L6.6 3H3a1 1 0 0 0-1 1z"/></>,
  "limit": () => <><path d="M2.5 12a6 6 0 1 1 11 0M8 9.5l3-3.5M6.5 12h3"/></>,
  "event": () => <><path d="M9 1.8 3.5 9H8l-1 5.2L12.5 7H8z"/></>,
  "audit": () => <><path d="M4 1.8h6L13 5v9.2H4zM6.2 7.5h4.6M6.2 10.3h4.6"/></>,
  "gear": () => <><circle cx="8" cy="8" r="2"/><path d="M8 1.8v2M8 12.2v2M1.8 8h2M12.2 8h2M3.6 3.6 5 5M11 11l1.4 1.4M12.4 3.6 11 5M5 11l-1.4 1.4"/></>,
  "find": () => <><circle cx="7" cy="7" r="4.3"/><path d="m10.3 10.3 3.4 3.4"/></>,
  "copy": () => <><rect x="5.2" y="5.2" width="8" height="8.3" rx="1.2"/><path d="M10.8 5V3.3a.8.8 0 0 0-.8-.8H3.6a.8.8 0 0 0-.8.8V10a.8.8 0 0 0 .8.8H5"/></>,
  "theme": () => <><circle cx="8" cy="8" r="5.6"/><path d="M8 2.4v11.2A5.6 5.6 0 0 0 8 2.4z" fill="currentColor" stroke="none"/></>,
  "chev": () => <><path d="m4.5 6.3 3.5 3.5 3.5-3.5"/></>,
  "right": () => <><path d="m6.3 4.5 3.5 3.5-3.5 3.5"/></>,
  "x": () => <><path d="m4 4 8 8M12 4l-8 8"/></>,
  "retry": () => <><path d="M13 8a5 5 0 1 1-1.6-3.7M13 2.5v2.8h-2.8"/></>,
  "pause": () => <><path d="M5.5 3.5v9M10.5 3.5v9"/></>,
  "dots": () => <><path d="M3.5 8h.01M8 8h.01M12.5 8h.01" stroke-width="2.2"/></>,
  "stop": () => <><circle cx="8" cy="8" r="5.7"/><path d="m4 12 8-8"/></>,
  "fit": () => <><path d="M2.5 5.5v-3h3M10.5 2.5h3v3M13.5 10.5v3h-3M5.5 13.5h-3v-3"/></>,
  "plus": () => <><path d="M8 3.5v9M3.5 8h9"/></>,
  "minus": () => <><path d="M3.5 8h9"/></>,
  "ext": () => <><path d="M9.5 2.5h4v4M13.3 2.7 7.5 8.5M11.5 9.5v4h-9v-9h4"/></>,
  "edit": () => <><path d="m2.8 13.2.6-2.8 7.4-7.4 2.2 2.2-7.4 7.4z"/></>,
  "skip": () => <><path d="m3.5 4 4 4-4 4M8.5 4l4 4-4 4"/></>,
  "shot": () => <><path d="M8 2.5v7.7M5 7.5l3 3 3-3M3 13.5h10"/></>,
  "eye": () => <><path d="M1.8 8S4 3.8 8 3.8 14.2 8 14.2 8 12 12.2 8 12.2 1.8 8 1.8 8z"/><circle cx="8" cy="8" r="1.8"/></>,
}

const GLYPHS: Record<string, () => ComponentChildren> = {
  complete: () => <><circle cx="7" cy="7" r="6" fill="currentColor"/><path d="m4.2 7.2 2 2 3.7-4.2" fill="none" stroke="var(--surface)" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"/></>,
  in_progress: () => <><circle cx="7" cy="7" r="5.3" fill="none" stroke="currentColor" stroke-width="1.5" opacity=".3"/><path d="M7 1.7a5.3 5.3 0 0 1 5.3 5.3" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round"/><path d="M5.6 4.6v4.8L9.5 7z" fill="currentColor"/></>,
  waiting_for_retry: () => <><circle cx="7" cy="7" r="5.6" fill="none" stroke="currentColor" stroke-width="1.5"/><path d="M7 3.8V7l2.2 1.4" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/></>,
  pending: () => <><circle cx="7" cy="7" r="5.4" fill="none" stroke="currentColor" stroke-width="1.5" stroke-dasharray="2.1 2.14"/></>,
  enqueued: () => <><circle cx="7" cy="7" r="5.4" fill="none" stroke="currentColor" stroke-width="1.5"/></>,
  waiting: () => <><rect x="1.5" y="1.5" width="11" height="11" rx="2.5" fill="none" stroke="currentColor" stroke-width="1.5"/><path d="M5.4 4.8v4.4M8.6 4.8v4.4" stroke="currentColor" stroke-width="1.6" stroke-linecap="round"/></>,
  error: () => <><path d="M4.4 1h5.2L13 4.4v5.2L9.6 13H4.4L1 9.6V4.4z" fill="currentColor"/><path d="m5 5 4 4M9 5 5 9" stroke="var(--surface)" stroke-width="1.6" stroke-linecap="round"/></>,
  cancelled: () => <><circle cx="7" cy="7" r="5.4" fill="none" stroke="currentColor" stroke-width="1.5"/><path d="m3.3 10.7 7.4-7.4" stroke="currentColor" stroke-width="1.5"/></>,
  skipped: () => <><path d="m2.5 3 4 4-4 4M7.5 3l4 4-4 4" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"/></>,
  resolved_manually: () => <><rect x="1.3" y="1.3" width="11.4" height="11.4" rx="2.5" fill="currentColor"/><path d="m4.2 7.2 2 2 3.7-4.2" fill="none" stroke="var(--surface)" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"/></>,
}

export function Icon(props: { name: string; class?: string }) {
  return (
    <svg class={`i ${props.class ?? ""}`} viewBox="0 0 16 16" aria-hidden="true">
      {ICONS[props.name]?.()}
    </svg>
  )
}

export function Glyph(props: { look: Look; title?: boolean }) {
  const { look } = props
  return (
    <svg
      class={`g s-${look.tone}${look.glyph === "in_progress" ? " turns" : ""}`}
      viewBox="0 0 14 14"
      {...(props.title ? { role: "img", "aria-label": look.label } : { "aria-hidden": "true" })}
    >
      {GLYPHS[look.glyph]?.()}
    </svg>
  )
}

/** The shapes of a glyph, for use inside another drawing. */
export function GlyphShape(props: { status: string; x: number; y: number; size?: number }) {
  const look = stepLook(props.status)
  const scale = (props.size ?? 14) / 14
  return (
    <g class={`s-${look.tone}`} transform={`translate(${props.x} ${props.y}) scale(${scale})`} aria-hidden="true">
      {GLYPHS[look.glyph]?.()}
    </g>
  )
}

export function Logo() {
  return (
    <svg width="20" height="20" viewBox="0 0 20 20" aria-hidden="true">
      <rect x="1" y="1" width="18" height="18" rx="5" fill="var(--text)" />
      <path
        d="M5 6.5h4.5M5 13.5h4.5M9.5 6.5c3 0 2.4 3.5 5.5 3.5M9.5 13.5c3 0 2.4-3.5 5.5-3.5"
        stroke="var(--surface)"
        stroke-width="1.7"
        fill="none"
        stroke-linecap="round"
      />
    </svg>
  )
}
