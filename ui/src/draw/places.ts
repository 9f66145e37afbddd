// Which node is at a point of a layout, and which are near one: for drawings that have no elements.
import { NODE_WIDTH, type Layout } from "./layout.ts"

export class Places {
  /** Left edges of the columns, and the nodes of each from top to bottom. */
  private readonly xs: number[]
  private readonly columns: number[][]

  constructor(private readonly layout: Layout, private readonly height: number) {
    const byX = new Map<number, number[]>()
    for (const [no, x] of layout.x.entries()) {
      const column = byX.get(x)
      if (column) column.push(no)
      else byX.set(x, [no])
    }
    this.xs = [...byX.keys()].sort((a, b) => a - b)
    this.columns = this.xs.map((x) => byX.get(x)!.sort((a, b) => layout.y[a]! - layout.y[b]!))
  }

  /** The node at a point, or the nearest within `slack`. */
  at(x: number, y: number, slack = 0): number | null {
    let best: number | null = null
    let least = Infinity
    for (let c = after(this.xs, x - NODE_WIDTH - slack); c < this.xs.length && this.xs[c]! <= x + slack; c++) {
      const column = this.columns[c]!
      for (let i = this.firstBelow(column, y - this.height - slack); i < column.length && this.layout.y[column[i]!]! <= y + slack; i++) {
        const node = column[i]!
        const [dx, dy] = [outside(x, this.layout.x[node]!, NODE_WIDTH), outside(y, this.layout.y[node]!, this.height)]
        const distance = Math.hypot(dx, dy)
        if (distance <= slack && distance < least) [best, least] = [node, distance]
      }
    }
    return best
  }

  /** The nodes within a rectangle. */
  within(left: number, top: number, right: number, bottom: number): number[] {
    const nodes: number[] = []
    for (let c = after(this.xs, left - NODE_WIDTH); c < this.xs.length && this.xs[c]! <= right; c++) {
      const column = this.columns[c]!
      for (let i = this.firstBelow(column, top - this.height); i < column.length && this.layout.y[column[i]!]! <= bottom; i++) nodes.push(column[i]!)
    }
    return nodes
  }

  /** The node above or below another in its column. */
  beside(node: number, by: 1 | -1): number | null {
    const column = this.columns[this.xs.indexOf(this.layout.x[node]!)]!
    return column[column.indexOf(node) + by] ?? null
  }

  private firstBelow(column: number[], y: number): number {
    return bisect(column.length, (i) => this.layout.y[column[i]!]! >= y)
  }
}

function outside(at: number, from: number, length: number): number {
  return Math.max(from - at, at - from - length, 0)
}

function after(sorted: number[], value: number): number {
  return bisect(sorted.length, (i) => sorted[i]! >= value)
}

/** The first of `count` positions for which a condition holds that holds for all after it. */
function bisect(count: number, holds: (i: number) => boolean): number {
  let [low, high] = [0, count]
  while (low < high) {
    const middle = (low + high) >> 1
    if (holds(middle)) high = middle
    else low = middle + 1
  }
  return low
}
