// A scale of time on which idle spans are short: piecewise linear, from milliseconds to pixels.

export type Span = [from: number, to: number]

export interface Piece {
  from: number
  to: number
  x0: number
  x1: number
  idle: boolean
}

export interface Scale {
  pieces: Piece[]
  /** The position of an instant; instants beyond the ends lie at the ends. */
  at: (ms: number) => number
  /** The instant at a position. */
  invert: (x: number) => number
  ticks: { ms: number; x: number }[]
}

const IDLE_WIDTH = 56 // pixels, at most a quarter of the whole for all idle spans
const TICK = 64 // pixels between ticks, at least

/** Spans in order, without overlaps. */
export function merge(spans: readonly Span[]): Span[] {
  const merged: Span[] = []
  for (const [from, to] of [...spans].filter(([a, b]) => b >= a).sort((a, b) => a[0] - b[0])) {
    const last = merged.at(-1)
    if (last && from <= last[1]) last[1] = Math.max(last[1], to)
    else merged.push([from, to])
  }
  return merged
}

/**
 * Make a scale.
 * @param busy when something ran
 * @param range the whole
 * @param width pixels
 * @param compress whether idle spans are shortened: those over four times the median of what ran
 */
export function makeScale(busy: readonly Span[], range: Span, width: number, compress: boolean): Scale {
  const [start, end] = [range[0], Math.max(range[1], range[0] + 1)]
  const idle = compress ? idleSpans(busy, [start, end]) : []
  const idleTotal = idle.reduce((sum, [from, to]) => sum + to - from, 0)
  const each = idle.length ? Math.min(IDLE_WIDTH, width / 4 / idle.length) : 0
  const perMs = (width - each * idle.length) / Math.max(end - start - idleTotal, 1e-9)
  const pieces: Piece[] = []
  let [ms, x] = [start, 0]
  const add = (to: number, isIdle: boolean) => {
    const next = isIdle ? x + each : x + (to - ms) * perMs
    pieces.push({ from: ms, to, x0: x, x1: next, idle: isIdle })
    ms = to
    x = next
  }
  for (const [from, to] of idle) {
    if (from > ms) add(from, false)
    add(to, true)
  }
  if (ms < end) add(end, false)
  const at = (value: number) => {
    const piece = pieces.find((one) => value <= one.to) ?? pieces.at(-1)!
    const share = (Math.min(Math.max(value, piece.from), piece.to) - piece.from) / (piece.to - piece.from || 1)
    return piece.x0 + share * (piece.x1 - piece.x0)
  }
  const invert = (value: number) => {
    const piece = pieces.find((one) => value <= one.x1) ?? pieces.at(-1)!
    const share = (Math.min(Math.max(value, piece.x0), piece.x1) - piece.x0) / (piece.x1 - piece.x0 || 1)
    return piece.from + share * (piece.to - piece.from)
  }
  return { pieces, at, invert, ticks: ticksOf(pieces, perMs, at) }
}

function idleSpans(busy: readonly Span[], range: Span): Span[] {
  const merged = merge(busy)
  const lengths = busy.map(([from, to]) => to - from).filter((length) => length > 0).sort((a, b) => a - b)
  const median = lengths[Math.floor(lengths.length / 2)] ?? range[1] - range[0]
  const least = Math.max(4 * median, (range[1] - range[0]) / 12, 1)
  const idle: Span[] = []
  let at = range[0]
  for (const [from, to] of [...merged, [range[1], range[1]] as Span]) {
    const gap = Math.min(from, range[1])
    if (gap - at > least) idle.push([at, gap])
    at = Math.max(at, to)
  }
  return idle
}

function ticksOf(pieces: readonly Piece[], perMs: number, at: (ms: number) => number) {
  const step = niceStep(TICK / perMs)
  const ticks: { ms: number; x: number }[] = []
  for (const piece of pieces) {
    if (piece.idle) continue
    for (let ms = Math.ceil(piece.from / step) * step; ms <= piece.to; ms += step) {
      const x = at(ms)
      if (ticks.length === 0 || x - ticks.at(-1)!.x >= TICK * 0.6) ticks.push({ ms, x })
      if (ticks.length > 200) return ticks
    }
  }
  return ticks
}

const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000, 3_600_000, 7_200_000, 21_600_000, 43_200_000, 86_400_000]

export function niceStep(ms: number): number {
  return STEPS.find((step) => step >= ms) ?? Math.ceil(ms / 86_400_000) * 86_400_000
}
