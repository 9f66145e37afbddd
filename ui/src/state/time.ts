// Times as people read them. A signal ticks once a second while anything counts.
import { signal } from "@preact/signals"
import { now } from "../api/client.ts"
import { utc } from "./forms.ts"

export const tick = signal(Date.now())
setInterval(() => {
  if (!document.hidden) tick.value = Date.now()
}, 1000)

export const zone = signal<"utc" | "local">(localStorage.getItem("tasker.zone") === "local" ? "local" : "utc")

export function setZone(value: "utc" | "local"): void {
  zone.value = value
  localStorage.setItem("tasker.zone", value)
}

zone.subscribe((value) => (utc.value = value === "utc"))

const pad = (value: number) => String(value).padStart(2, "0")

/** A duration in seconds: `0.44 s`, `38 s`, `6 min`, `2 h 5 min`, `3 d`. */
export function duration(seconds: number): string {
  if (seconds < 0.0005) return "0 s"
  if (seconds < 0.1) return `${Math.max(1, Math.round(seconds * 1000))} ms`
  if (seconds < 1) return `${seconds.toFixed(2)} s`
  if (seconds < 100) return `${seconds.toFixed(1)} s`
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`
  const hours = Math.floor(seconds / 3600)
  if (hours >= 48) return `${Math.round(hours / 24)} d`
  const minutes = Math.round((seconds - hours * 3600) / 60)
  return minutes ? `${hours} h ${minutes} min` : `${hours} h`
}

/** Time left, as a clock: `0:34`, `1:02:03`. */
export function countdown(milliseconds: number): string {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1000))
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60]
  return h ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`
}

export function ago(at: string | number): string {
  tick.value
  const seconds = Math.max(0, (now() - (typeof at === "number" ? at : Date.parse(at))) / 1000)
  return seconds < 10 ? "just now" : `${duration(Math.floor(seconds))} ago`.replace(/\.0 s/, " s")
}

function parts(at: Date) {
  return zone.value === "utc"
    ? { y: at.getUTCFullYear(), mo: at.getUTCMonth() + 1, d: at.getUTCDate(), h: at.getUTCHours(), mi: at.getUTCMinutes(), s: at.getUTCSeconds() }
    : { y: at.getFullYear(), mo: at.getMonth() + 1, d: at.getDate(), h: at.getHours(), mi: at.getMinutes(), s: at.getSeconds() }
}

/** The time of day, with the date in front of it unless it is today. */
export function clock(at: string | number | Date): string {
  const date = new Date(at)
  const [then, today] = [parts(date), parts(new Date(now()))]
  const time = `${pad(then.h)}:${pad(then.mi)}:${pad(then.s)}`
  if (then.y === today.y && then.mo === today.mo && then.d === today.d) return time
  const day = `${pad(then.mo)}-${pad(then.d)}`
  return `${then.y === today.y ? day : `${then.y}-${day}`} ${time}`
}

/** The exact time, for titles. */
export function exact(at: string | number): string {
  const date = new Date(at)
  const p = parts(date)
  const ms = String(date.getUTCMilliseconds()).padStart(3, "0")
  return `${p.y}-${pad(p.mo)}-${pad(p.d)} ${pad(p.h)}:${pad(p.mi)}:${pad(p.s)}.${ms} ${zone.value === "utc" ? "UTC" : "local time"}`
}
