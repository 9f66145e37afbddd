// How long the versions of workflows and their steps usually take: read once for each version that is shown.
import { signal } from "@preact/signals"
import { useEffect } from "preact/hooks"
import { get, may } from "../api/client.ts"
import type { UsualDuration, UsualDurations } from "../api/types.ts"
import { duration } from "./time.ts"

interface Version {
  namespace: string
  name: string
  version: string
}

const FEW = 5 // runs below which nothing is called unusual

const known = signal<Record<string, UsualDurations>>({})
const asked = new Set<string>() // by several parts of a page at once

function keyOf(one: Version): string {
  return `${one.namespace}.${one.name}@${one.version}`
}

export function useUsual(version: Version): UsualDurations | null {
  const key = keyOf(version)
  useEffect(() => {
    if (asked.has(key) || !may("templates:read", version.namespace)) return
    asked.add(key)
    get<UsualDurations>(`/v1/templates/${version.namespace}/${version.name}/${encodeURIComponent(version.version)}/durations`).then(
      (usual) => (known.value = { ...known.value, [key]: usual }),
      () => asked.delete(key), // pages are complete without them
    )
  }, [key])
  return known.value[key] ?? null
}

/** The usual duration of a step; of the instances of a map, that of the map. */
export function usualOf(version: Version, step: string): UsualDuration | null {
  const steps = known.value[keyOf(version)]?.steps
  return steps?.[step] ?? steps?.[step.replace(/\[.*$/, "")] ?? null
}

export function usually(usual: UsualDuration): string {
  return `usually ${duration(usual.median)}${usual.p95 > 1.2 * usual.median ? `, 95 % within ${duration(usual.p95)}` : ""}`
}

export function isUnusual(usual: UsualDuration, seconds: number): boolean {
  return usual.runs >= FEW && seconds > usual.p95 && seconds > 2 * usual.median && seconds > 0.1
}
