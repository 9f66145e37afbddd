// What the handler of a step logged and printed: follows a running attempt, and searches in messages.
import { useState } from "preact/hooks"
import { get, queryOf } from "../api/client.ts"
import type { LogPage } from "../api/types.ts"
import { Button, Failed, Loading, Time } from "../parts/bits.tsx"
import type { StepNode } from "../state/picture.ts"
import { useResource } from "../state/resource.ts"

const PAGE = 200
const MOST = 1000

export function StepLogs(props: { task: string; node: StepNode }) {
  const { task, node } = props
  const [text, setText] = useState("")
  const [limit, setLimit] = useState(PAGE)
  const query = queryOf({ step: node.name, text, order: "newest", limit })
  const logs = useResource(
    `logs ${task} ${node.attempts} ${query}`,
    (signal) => get<LogPage>(`/v1/tasks/${task}/logs${query}`, signal),
    node.status === "in_progress" ? 1500 : 10_000,
  )
  const records = [...(logs.data?.records ?? [])].reverse()
  return (
    <section class="step-logs">
      <p class="find">
        <input type="search" aria-label="Search in messages" placeholder="Search in messages" value={text} onInput={(event) => setText(event.currentTarget.value)} />
        {logs.data?.link && /^https?:/.test(logs.data.link) && <a href={logs.data.link} target="_blank" rel="noreferrer noopener">Open in the log store</a>}
      </p>
      {logs.problem && <Failed problem={logs.problem} what="the logs" reload={logs.reload} />}
      {!logs.data && !logs.problem && <Loading what="the logs" />}
      {logs.data && records.length === 0 && (
        <p class="muted">
          {text
            ? "No message contains this text."
            : node.attempts === 0 && node.status !== "in_progress"
              ? "No attempt has started. What the handler logs through ctx.logger or prints appears here."
              : "Nothing was logged. What the handler logs through ctx.logger or prints appears here."}
        </p>
      )}
      {logs.data?.next_cursor && (limit < MOST
        ? <Button small onClick={() => setLimit(MOST)}>Show earlier records</Button>
        : <p class="muted">Only the newest {MOST.toLocaleString("en")} records are shown. Search them, or read all records with <code>tasker task logs {task}</code>.</p>)}
      <ol class="log">
        {records.map((record, at) => (
          <li key={`${record.attempt}-${record.number}`} class={record.level}>
            {record.attempt !== records[at - 1]?.attempt && <h4>Attempt {record.attempt}</h4>}
            <p class="sec"><Time at={record.at} /> {record.level !== "info" && <b>{record.level}</b>} <span class="muted">{record.source}</span></p>
            <pre>{record.message}</pre>
            {Object.keys(record.fields).length > 0 && (
              <p class="muted">{Object.entries(record.fields).map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`).join("  ")}</p>
            )}
          </li>
        ))}
      </ol>
    </section>
  )
}
