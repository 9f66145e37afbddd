import { useEffect, useState } from "preact/hooks"
import { lost, post, Problem, readSession, session } from "../api/client.ts"
import type { SessionView } from "../api/types.ts"
import { Button } from "../parts/bits.tsx"
import { Logo } from "../parts/icons.tsx"
import { base, navigate, route } from "../router.ts"

/** Why the identity provider's login was refused. */
const REFUSALS: Record<string, string> = {
  state: "The login took too long or was started in another window. Try again.",
  rejected: "The identity provider rejected the login.",
  token: "The identity provider's response could not be verified. The server's log contains the reason.",
  unmapped: "Your account has no role on this server. Ask an administrator for a role in a namespace.",
  unavailable: "The identity provider could not be reached. Try again later.",
}

export function Login() {
  const [key, setKey] = useState("")
  const [problem, setProblem] = useState<string | null>(null)
  const [busy, setBusy] = useState(false)
  const methods = session.value?.methods ?? ["api_key"]
  const keys = methods.includes("api_key")
  const next = route.value.path === "/login" ? (route.value.query.get("next") ?? "/") : route.value.path + location.search
  const refused = route.value.path === "/login" ? route.value.query.get("problem") : null
  useEffect(() => {
    document.title = "Log in · Tasker"
  }, [])
  const logIn = async () => {
    setBusy(true)
    setProblem(null)
    try {
      session.value = await post<SessionView>("/v1/session", { api_key: key.trim() })
      await readSession()
      if (session.value.name === null) setProblem("The browser did not store the session cookie. Over plain HTTP, it works only on the server's own machine.")
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
        {lost.value && <p class="fault" role="status">{lost.value} Log in again to continue; your input is kept.</p>}
        {refused && <p class="fault" role="alert">{REFUSALS[refused] ?? "The login failed. Try again."}</p>}
        {methods.includes("oidc") && <a class="btn pri" href={`${base}/v1/session/oidc/start?next=${encodeURIComponent(next)}`}>Log in with your organization</a>}
        {keys && methods.includes("oidc") && <p class="muted">or with an API key</p>}
        {keys && <label class="field">
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
        </label>}
        {keys && problem && <p class="fault" id="login-problem" role="alert">{problem}</p>}
        {keys && <Button {...(methods.includes("oidc") ? {} : { kind: "pri" as const })} type="submit" disabledBecause={busy ? "in progress" : key.trim() ? null : "enter a key first"}>Log in</Button>}
        {keys && <p>
          An administrator can create a key on a machine with access to the store: <code class="mono">tasker key create "Ann" --role operator --namespace payments</code>
        </p>}
      </form>
    </main>
  )
}
