// What the frame of the pages keeps: the chosen namespace, the theme, and open dialogs.
import { signal } from "@preact/signals"
import type { Approval } from "../api/types.ts"
import { route } from "../router.ts"

export type Theme = "system" | "light" | "dark"

const stored = localStorage.getItem("tasker.theme")
export const theme = signal<Theme>(stored === "light" || stored === "dark" ? stored : "system")

export function setTheme(value: Theme): void {
  theme.value = value
  if (value === "system") {
    localStorage.removeItem("tasker.theme")
    delete document.documentElement.dataset["theme"]
  } else {
    localStorage.setItem("tasker.theme", value)
    document.documentElement.dataset["theme"] = value
  }
}

/** Switch between light and dark, from what is shown now. */
export function toggleTheme(): void {
  const dark =
    theme.value === "dark" || (theme.value === "system" && matchMedia("(prefers-color-scheme: dark)").matches)
  setTheme(dark ? "light" : "dark")
}

export const paletteOpen = signal(false)
export const helpOpen = signal(false)

/** The namespace to which the lists are narrowed, or null for all. */
export function namespaceOf(query: URLSearchParams = route.value.query): string | null {
  return query.get("namespace")
}

/** Numbers beside the entries of the navigation. */
export const badges = signal<Record<string, number>>({})

/** Approvals that wait for the viewer. */
export const waiting = signal<readonly Approval[]>([])
