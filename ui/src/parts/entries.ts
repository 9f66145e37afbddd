// The pages of the navigation.
import { may } from "../api/client.ts"
import { withQuery } from "../router.ts"
import { namespaceOf } from "../state/shell.ts"

export interface Entry {
  path: string
  label: string
  icon: string
  needs: string
  badge?: "bad" | "plain"
  heading?: string
}

export const ENTRIES: Entry[] = [
  { path: "/", label: "Home", icon: "home", needs: "system:analytics_read" },
  { path: "/tasks", label: "Tasks", icon: "tasks", needs: "tasks:list" },
  { path: "/failures", label: "Failures", icon: "fail", needs: "system:analytics_read", badge: "bad" },
  { path: "/approvals", label: "Approvals", icon: "approve", needs: "approvals:read", badge: "plain" },
  { path: "/workflows", label: "Workflows", icon: "flow", needs: "templates:list", heading: "Registry" },
  { path: "/schedules", label: "Schedules", icon: "cal", needs: "schedules:read" },
  { path: "/limits", label: "Limits", icon: "limit", needs: "limits:read" },
  { path: "/events", label: "Events", icon: "event", needs: "events:read" },
  { path: "/namespaces", label: "Namespaces", icon: "ns", needs: "namespaces:read" },
  { path: "/workers", label: "Workers", icon: "worker", needs: "workers:read", badge: "plain", heading: "System" },
  { path: "/audit", label: "Audit", icon: "audit", needs: "namespaces:read" },
  { path: "/settings", label: "Settings", icon: "gear", needs: "" },
]

/** Whether the viewer may see a page. */
export function visible(entry: Entry): boolean {
  return !entry.needs || may(entry.needs)
}

/** An address that keeps the chosen namespace. */
export function within(path: string): string {
  const space = namespaceOf()
  return space ? withQuery(path, new URLSearchParams({ namespace: space })) : path
}
