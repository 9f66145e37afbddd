import { useEffect, useState } from "preact/hooks"
import { post, Problem, readSession, session } from "../api/client.ts"
import type { SessionView } from "../api/types.ts"
import { Button } from "../parts/bits.tsx"
import { Logo } from "../parts/icons.tsx"
import { navigate, route } from "../router.ts"

export function Login() {
  const [key, setKey] = useState("")
  const [problem, setProblem] = useState<string | null>(null)
  const [busy, setBusy] = useState(false)
  useEffect(() => {
    document.title = "Log in · Tasker"
  }, [])
  const logIn = async () => {
    setBusy(true)
    setProblem(null)
    try {
      session.value = await post<SessionView>("/v1/session", { api_key: key.trim() })
      await readSession()
      if (session.value.name === null) setProblem("The browser did not keep the session cookie: over plain HTTP it is kept for this machine only.")
      else if (route.value.path === "/login") navigate(route.value.query.get("next") ?? "/", { replace: true })
    } catch (error) {
      setProblem(error instanceof Problem ? error.detail : String(error))
    } finally {
      setBusy(false)
    }
  }
  return (
    <main class="login">
      <form
        onSubmit={(event) => {
          event.preventDefault()
          if (key.trim() && !busy) void logIn()
        }}
      >
        <div class="brand"><Logo />Tasker</div>
        <h1>Log in</h1>
        <label class="field">
          API key
          <input
            class="text mono"
            type="password"
            autoFocus
            autoComplete="current-password"
            spellcheck={false}
            placeholder="tsk_…"
            value={key}
            aria-invalid={problem !== null}
            aria-describedby={problem ? "login-problem" : undefined}
            onInput={(event) => setKey(event.currentTarget.value)}
          />
        </label>
        {problem && <p class="fault" id="login-problem" role="alert">{problem}</p>}
        <Button kind="pri" type="submit" disabledBecause={busy ? "in progress" : key.trim() ? null : "enter a key first"}>Log in</Button>
        <p>
          An administrator makes keys where the store is: <code class="mono">tasker key create "Ann" --role operator --namespace payments</code>
        </p>
      </form>
    </main>
  )
}
