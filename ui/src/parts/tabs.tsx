// Tabs that are links: which one is chosen is part of the address.
import { href, route, withQuery } from "../router.ts"

export function Tabs(props: { label: string; name: string; tabs: Readonly<Record<string, string>>; chosen: string; first: string }) {
  const { query, path } = route.value
  const to = (key: string) => {
    const next = new URLSearchParams(query)
    if (key === props.first) next.delete(props.name)
    else next.set(props.name, key)
    return href(withQuery(path, next))
  }
  return (
    <nav class="states" aria-label={props.label}>
      {Object.entries(props.tabs).map(([key, label]) => (
        <a key={key} href={to(key)} aria-current={key === props.chosen ? "true" : undefined}>{label}</a>
      ))}
    </nav>
  )
}
