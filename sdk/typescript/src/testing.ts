import { runHandler } from './attempt.js';
import { handlerOf, type StepHandlerClass } from './class_handlers.js';
import { Client, type CreateOptions, type Task } from './client.js';
import { type AttemptServices, StepContext } from './context.js';
import type { Handler } from './handler.js';
import { type LogRecord, StepLog } from './log.js';
import type { ErrorBody, WaitFor } from './protocol.js';

/** What an attempt works on; everything has a default. */
export interface StepInputs {
  input?: Record<string, unknown>;
  results?: Record<string, unknown>;
  failures?: Record<string, unknown>;
  config?: Record<string, unknown>;
  checkpoint?: unknown;
  /** `item` of a map, `cursor` of a batch. */
  items?: Record<string, unknown>;
  attempt?: number;
  maxAttempts?: number;
  /** Values of durable calls that earlier attempts recorded, by name: `{'sleep-1': null}`. */
  recorded?: Record<string, unknown>;
  /** Results of child tasks by template; a task without one leaves the step waiting. */
  tasks?: Record<string, unknown>;
  signal?: AbortSignal;
}

/** How an attempt ended. */
export interface StepRun {
  /** `complete`, `failed`, `parked` or `yielded`. */
  outcome: string;
  /** The result as later steps get it, read back from JSON. */
  result: any;
  error: ErrorBody | null;
  waitFor: WaitFor | null;
  /** What it saved, oldest first. */
  checkpoints: unknown[];
  /** Results of `once` and `runTask`, by the name of the call. */
  recorded: Record<string, unknown>;
  /** Tasks that it created with `context.client`, as [template, context]. */
  created: [string, object][];
  /** Its log records, the last progress among them. */
  logs: LogRecord[];
}

/** Run a handler once without a server, and return how its attempt ended. */
export async function runStep(given: Handler | StepHandlerClass, inputs: StepInputs = {}): Promise<StepRun> {
  const handler = handlerOf(given);
  const run: StepRun = {
    outcome: '',
    result: null,
    error: null,
    waitFor: null,
    checkpoints: [],
    recorded: {},
    created: [],
    logs: [],
  };
  const { attempt = inputs.recorded === undefined ? 1 : 2, maxAttempts = 3 } = inputs;
  const claimed = {
    ticket: 'test',
    task_id: '01890a5d-ac96-774b-bcce-b302099a8057',
    step: 'step',
    handler: handler.handlerName,
    namespace: 'tests',
    template: 'workflow',
    version: '1.0.0',
    attempt,
    counted_attempts: attempt,
    max_attempts: maxAttempts,
    idempotency_key: '01890a5d-ac96-774b-bcce-b302099a8057:step',
    correlation_id: 'test',
    context: copy(inputs.input ?? {}),
    results: copy(inputs.results ?? {}),
    failures: copy(inputs.failures ?? {}),
    config: copy(inputs.config ?? {}),
    items: copy(inputs.items ?? {}),
    checkpoint: inputs.checkpoint ?? null,
  };
  const log = new StepLog(async (records) => run.logs.push(...records) > 0);
  const context = new StepContext(claimed, services(inputs, run, log));
  const ending = await runHandler(handler, context);
  await log.flush();
  run.outcome = ending.outcome;
  if ('result' in ending) run.result = copy(ending.result);
  if ('error' in ending) run.error = copy(ending.error);
  if ('wait_for' in ending) run.waitFor = copy(ending.wait_for);
  if ('checkpoint' in ending) run.checkpoints.push(copy(ending.checkpoint));
  return run;
}

function services(inputs: StepInputs, run: StepRun, log: StepLog): AttemptServices {
  const routes: Record<string, (body: any) => unknown> = {
    checkpoint: ({ value }) => run.checkpoints.push(copy(value)),
    calls: () => ({
      calls: Object.entries(inputs.recorded ?? {}).map(([name, value]) => ({ name, kind: kindOf(name), value })),
    }),
    once: ({ call, value }) => {
      run.recorded[call] = copy(value);
    },
    run_task: ({ call, template }) => {
      const ended = inputs.tasks !== undefined && template in inputs.tasks;
      const result = ended ? inputs.tasks?.[template] : null;
      if (ended) run.recorded[call] = result;
      return { task_id: 'test', status: ended ? 'complete' : 'pending', result, error: null };
    },
  };
  return {
    signal: inputs.signal ?? new AbortController().signal,
    client: new RecordingClient(run),
    log,
    beat: () => {},
    ask: async <T>(route: string, body: object = {}) => routes[route]?.(body) as T,
  };
}

/** Return the kind of a call with a name by default: `sleep-1`; other names are of `once`. */
function kindOf(name: string): string {
  return /^(sleep|wait_signal|wait_any|wait_approval|run_task|spawn)-\d+$/.exec(name)?.[1] ?? 'once';
}

/** A client that creates nothing, and remembers. */
class RecordingClient extends Client {
  constructor(private readonly recordedIn: StepRun) {
    super();
  }

  override async create(template: string, context: object = {}, _: CreateOptions = {}): Promise<Task> {
    this.recordedIn.created.push([template, context]);
    const id = `task-${this.recordedIn.created.length}`;
    const [namespace = 'default', name = template] = template.split('.');
    const copied = copy(context) as Record<string, unknown>;
    return { id, namespace, name, version: '1.0.0', status: 'pending', context: copied, result: null, error: null };
  }
}

function copy<T>(value: T): T {
  return value === undefined ? value : (JSON.parse(JSON.stringify(value)) as T);
}
