import { render } from "preact"
import { useEffect, useState } from "preact/hooks"
import { may, Problem, readSession, session } from "./api/client.ts"
import { Failed } from "./parts/bits.tsx"
import { Shell } from "./parts/shell.tsx"
import { match, route, startRouter } from "./router.ts"
import { startKeys } from "./state/keys.ts"
import { Failures } from "./views/failures.tsx"
import { Home } from "./views/home.tsx"
import { Login } from "./views/login.tsx"
import { NamespacePage, Namespaces } from "./views/namespaces.tsx"
import { TaskPage } from "./views/task.tsx"
import { NotFound } from "./views/not_found.tsx"
import { Tasks } from "./views/tasks.tsx"
import { Workers } from "./views/workers.tsx"
import { Workflow } from "./views/workflow.tsx"
import { Workflows } from "./views/workflows.tsx"

function Page() {
  const { path } = route.value
  if (match("/", path)) return may("system:analytics_read") ? <Home /> : <Tasks />
  if (match("/tasks", path)) return <Tasks />
  if (match("/failures", path)) return <Failures />
  if (match("/workflows", path)) return <Workflows />
  if (match("/workers", path)) return <Workers />
  if (match("/namespaces", path)) return <Namespaces />
  const space = match("/namespaces/:name", path)
  if (space) return <NamespacePage key={space["name"]!} name={space["name"]!} />
  const workflow = match("/workflows/:namespace/:name", path)
  if (workflow) return <Workflow key={path} namespace={workflow["namespace"]!} name={workflow["name"]!} />
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
