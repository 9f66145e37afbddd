// A graph as a file: SVG and PNG from the same model as the page, and Mermaid for documents.
import type { Picture } from "../state/picture.ts"
import { stepLook } from "../status.ts"
import { NODE_WIDTH, type Layout } from "./layout.ts"
import { endsOf } from "./mirror.ts"

const MARGIN = 20
const SCALE = 2 // pixels of a PNG for each of the drawing

export type Format = "svg" | "png" | "mermaid"

export interface Drawing {
  picture: Picture
  layout: Layout
  /** Height of a node. */
  height: number
  captionOf: (key: string) => string
  curve: (points: [number, number][]) => string
}

const escape = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;")

export function svgOf(drawing: Drawing, colour: (name: string) => string): string {
  const { picture, layout, height } = drawing
  const [w, h] = [layout.width + 2 * MARGIN, layout.height + 2 * MARGIN]
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${w}" height="${h}" viewBox="${-MARGIN} ${-MARGIN} ${w} ${h}" font-family="sans-serif">`,
    `<rect x="${-MARGIN}" y="${-MARGIN}" width="${w}" height="${h}" fill="${colour("surface")}"/>`,
  ]
  for (let e = 0; e < picture.edges.length; e += 2) {
    const [from, to] = [picture.edges[e]!, picture.edges[e + 1]!]
    const { x0, y0, x1, y1 } = endsOf(layout, from, to, height)
    parts.push(`<path d="${drawing.curve([[x0, y0], ...(layout.bends[e / 2] ?? []), [x1, y1]])}" fill="none" stroke="${colour("line2")}" stroke-width="1.4"/>`)
  }
  for (const [no, node] of picture.nodes.entries()) {
    const [x, y] = [layout.x[no]!, layout.y[no]!]
    const { tone } = stepLook(node.status)
    parts.push(
      `<g><title>${escape(`${node.name}, ${stepLook(node.status).label}`)}</title>`,
      `<rect x="${x}" y="${y}" width="${NODE_WIDTH}" height="${height}" rx="8" fill="${colour("surface")}" stroke="${colour(tone)}" stroke-width="1.4"/>`,
      `<text x="${x + 12}" y="${y + 22}" font-size="11.5" font-weight="500" fill="${colour("text")}">${escape(clip(node.name))}</text>`,
      `<text x="${x + 12}" y="${y + 39}" font-size="11" fill="${colour(tone)}">${escape(clip(drawing.captionOf(node.key)))}</text></g>`,
    )
  }
  return `${parts.join("\n")}\n</svg>\n`
}

function clip(text: string): string {
  return text.length > 25 ? `${text.slice(0, 16)}…${text.slice(-8)}` : text
}

export function mermaidOf(picture: Picture): string {
  const lines = ["flowchart LR"]
  for (const [no, node] of picture.nodes.entries()) lines.push(`  n${no}["${node.name.replaceAll('"', "#quot;")}"]`)
  for (let e = 0; e < picture.edges.length; e += 2) lines.push(`  n${picture.edges[e]} --> n${picture.edges[e + 1]}`)
  return `${lines.join("\n")}\n`
}

async function png(svg: string, drawing: Drawing): Promise<Blob> {
  const image = new Image()
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`
  await image.decode()
  const canvas = document.createElement("canvas")
  canvas.width = (drawing.layout.width + 2 * MARGIN) * SCALE
  canvas.height = (drawing.layout.height + 2 * MARGIN) * SCALE
  canvas.getContext("2d")!.drawImage(image, 0, 0, canvas.width, canvas.height)
  return new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the image is too large"))), "image/png"))
}

/** Save the graph as a file. */
export async function save(drawing: Drawing, format: Format, name: string, colour: (name: string) => string): Promise<void> {
  const svg = () => svgOf(drawing, colour)
  const blob =
    format === "png" ? await png(svg(), drawing)
    : format === "svg" ? new Blob([svg()], { type: "image/svg+xml" })
    : new Blob([mermaidOf(drawing.picture)], { type: "text/plain" })
  const link = document.createElement("a")
  link.href = URL.createObjectURL(blob)
  link.download = `${name}.${format === "mermaid" ? "mmd" : format}`
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
}
