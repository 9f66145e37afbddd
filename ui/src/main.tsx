import { render } from "preact"
import { useEffect, useState } from "preact/hooks"
import { Problem, readSession, session } from "./api/client.ts"
import { Failed } from "./parts/bits.tsx"
import { Shell } from "./parts/shell.tsx"
import { match, route, startRouter } from "./router.ts"
import { startKeys } from "./state/keys.ts"
import { Login } from "./views/login.tsx"
import { TaskPage } from "./views/task.tsx"
import { NotFound } from "./views/not_found.tsx"
import { Tasks } from "./views/tasks.tsx"

function Page() {
  const { path } = route.value
  if (match("/tasks", path) || match("/", path)) return <Tasks />
  const task = match("/tasks/:id", path)
  if (task) return <TaskPage key={task["id"]!} id={task["id"]!} />
  return <NotFound />
}

function App() {
  const [problem, setProblem] = useState<Problem | null>(null)
  const load = () => {
    setProblem(null)
    readSession().catch((error: unknown) =>
      setProblem(error instanceof Problem ? error : new Problem(0, "unexpected", String(error))),
    )
  }
  useEffect(load, [])
  const view = session.value
  if (problem && !view) return <Failed problem={problem} what="the page" reload={load} />
  if (!view) return null
  if (view.name === null || route.value.path === "/login") return <Login />
  return <Shell><Page /></Shell>
}

startRouter()
startKeys()
render(<App />, document.getElementById("app")!)
