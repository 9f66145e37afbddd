import { h, render, type JSX } from "preact"
import { useEffect, useState } from "preact/hooks"
import { may, Problem, readSession, session } from "./api/client.ts"
import { Failed, Loading } from "./parts/bits.tsx"
import { Shell } from "./parts/shell.tsx"
import { match, route, startRouter } from "./router.ts"
import { startKeys } from "./state/keys.ts"
import { operatePart, taskPart, usePart, type LaterPart, type Part } from "./state/later.ts"
import { Home } from "./views/home.tsx"
import { Login } from "./views/login.tsx"
import { NotFound } from "./views/not_found.tsx"
import { Tasks } from "./views/tasks.tsx"

/** A page of a part that is loaded when the first of its pages is opened. */
function Later<T>(props: { part: Part<T>; page: (part: T) => JSX.Element }) {
  const { part } = props
  const loaded = usePart(part)
  if (loaded) return props.page(loaded)
  if (part.missing.value) return <Failed problem={new Problem(0, "unreachable", "A part of the page could not be loaded.")} what="the page" reload={part.load} />
  return <Loading what="the page" />
}

function laterPage(path: string): ((pages: LaterPart) => JSX.Element) | null {
  const plain = PLAIN[path as keyof typeof PLAIN]
  if (plain) return (pages) => h(pages[plain], {})
  const workflow = match("/workflows/:namespace/:name", path)
  if (workflow) return (pages) => <pages.Workflow key={path} namespace={workflow["namespace"]!} name={workflow["name"]!} />
  const schedule = match("/schedules/:namespace/:name", path)
  if (schedule) return (pages) => <pages.SchedulePage key={path} namespace={schedule["namespace"]!} name={schedule["name"]!} />
  const webhook = match("/events/:namespace/:name", path)
  if (webhook) return (pages) => <pages.WebhookPage key={path} namespace={webhook["namespace"]!} name={webhook["name"]!} />
  const worker = match("/workers/:id", path)
  if (worker) return (pages) => <pages.WorkerPage key={path} id={worker["id"]!} />
  const space = match("/namespaces/:name", path)
  if (space) return (pages) => <pages.NamespacePage key={path} name={space["name"]!} />
  return null
}

const PLAIN = {
  "/approvals": "Approvals",
  "/audit": "Audit",
  "/events": "Events",
  "/failures": "Failures",
  "/limits": "Limits",
  "/namespaces": "Namespaces",
  "/schedules": "Schedules",
  "/tasks/new": "NewTask",
  "/settings": "Settings",
  "/workers": "Workers",
  "/workflows": "Workflows",
} as const

function Page() {
  const { path } = route.value
  if (match("/", path)) return may("system:analytics_read") ? <Home /> : <Tasks />
  if (match("/tasks", path)) return <Tasks />
  const later = laterPage(path.replace(/(.)\/$/, "$1"))
  if (later) return <Later key="operate" part={operatePart} page={later} />
  const task = match("/tasks/:id", path)
  if (task) return <Later key="task" part={taskPart} page={({ TaskPage }) => <TaskPage key={task["id"]!} id={task["id"]!} />} />
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
if (match("/tasks/:id", route.peek().path) && !match("/tasks/new", route.peek().path)) taskPart.load() // beside the session, not after it
render(<App />, document.getElementById("app")!)
