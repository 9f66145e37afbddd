import { Empty } from "../parts/bits.tsx"
import { Top } from "../parts/shell.tsx"
import { href, route } from "../router.ts"

export function NotFound() {
  return (
    <>
      <Top crumbs={[["Not found", null]]} />
      <div class="page">
        <Empty icon="find" title="There is no such page" actions={<a class="btn" href={href("/")}>Home</a>}>
          The address {route.value.path} leads nowhere.
        </Empty>
      </div>
    </>
  )
}
