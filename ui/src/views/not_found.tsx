import { Empty } from "../parts/bits.tsx"
import { Top } from "../parts/shell.tsx"
import { href, route } from "../router.ts"

export function NotFound() {
  return (
    <>
      <Top crumbs={[["Not found", null]]} />
      <div class="page">
        <Empty icon="find" title="Page not found" actions={<a class="btn" href={href("/")}>Home</a>}>
          There is no page at {route.value.path}.
        </Empty>
      </div>
    </>
  )
}
