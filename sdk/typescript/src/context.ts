import type { Client } from './client.js';
import { PermanentError } from './errors.js';
import { asJson, requireJson } from './json.js';
import type { StepLog, StepLogger } from './log.js';
import type { ChildTask, ClaimedStep, Ending, RecordedCall, WaitFor } from './protocol.js';

/** What a step context uses while its attempt runs. */
export interface AttemptServices {
  /** Aborted when the attempt must stop. */
  readonly signal: AbortSignal;
  /** Creates tasks on behalf of the attempt. */
  readonly client: Client;
  readonly log: StepLog;
  /** Called by `heartbeat`. */
  beat(): void;
  /** Send a request of the attempt, and return its answer. */
  ask<T>(route: string, body?: object): Promise<T>;
}

/** How a handler ended its attempt without a result; thrown to unwind the handler. */
export class Suspended extends Error {
  override name = 'Suspended';

  constructor(readonly ending: Ending) {
    super('the attempt ends here: let this error pass');
  }
}

export interface WaitOptions {
  /** Maximum wait in seconds; default: no limit. */
  timeout?: number;
  /** After the timeout, `fail` (default) ends the step in error, `continue` returns null. */
  onTimeout?: 'fail' | 'continue';
  /** The name of the durable call; default: its kind and number, such as `wait_signal-1`. */
  callName?: string;
}

/** What ended a wait for one of several signals. */
export interface Arrival {
  name: string;
  key: string | null;
  payload: unknown;
  sent_by: string | null;
  sent_at: string;
}

/** The decision of a person. */
export interface Decision {
  form: Record<string, unknown>;
  decided_by: string;
  decided_at: string;
}

export interface ApprovalOptions extends WaitOptions {
  /** Who may decide: `user:NAME` and `role:NAME`; default: everybody who may decide approvals. */
  assignees?: string[];
  /** JSON Schema of the decision; default: `approved`, a boolean, and a `comment`. */
  form?: object;
  /** Seconds after which `escalateTo` may decide too. */
  escalateAfter?: number;
  escalateTo?: string[];
}

export interface RunTaskOptions {
  /** Whether the task goes on when this one is cancelled; default: false. */
  detached?: boolean;
  /** `child` retries a failed task as often as this step may have attempts; default: `never`. */
  retry?: 'never' | 'child';
  /** The name of the durable call; default: `run_task-1` and so on. */
  callName?: string;
}

/** A signal to wait for; with a key, a broadcast of that name and key ends the wait too. */
export interface SignalName {
  name: string;
  key?: string;
}

/** A handler's view of one attempt of one step. */
export class StepContext {
  readonly taskId = this.claimed.task_id;
  /** The step's name. The name of an instance includes its number: `convert[17]`. */
  readonly step = this.claimed.step;
  readonly namespace = this.claimed.namespace;
  readonly template = this.claimed.template;
  readonly version = this.claimed.version;
  /** The attempt's number, from 1; never reused. */
  readonly attempt = this.claimed.attempt;
  /** Number of attempts that count against `maxAttempts`, including this one. */
  readonly countedAttempts = this.claimed.counted_attempts;
  readonly maxAttempts = this.claimed.max_attempts;
  /** Which entry point of the handler to use, if the template names one. */
  readonly method = this.claimed.method ?? null;
  /** Where another system completes this external step; null for other steps. */
  readonly completionUrl = this.claimed.completion_url ?? null;
  /** A key for the step's external effects: the same in all attempts, unique to the step. */
  readonly idempotencyKey = this.claimed.idempotency_key;
  readonly correlationId = this.claimed.correlation_id;
  readonly parentId = this.claimed.parent_id ?? null;
  /** The W3C traceparent of the request that created the task. */
  readonly traceparent = this.claimed.traceparent ?? null;
  /** The task's context: its inputs by name. */
  readonly input: Readonly<Record<string, unknown>> = this.claimed.context ?? {};
  /** Results of the steps before this one by name. */
  readonly results: Readonly<Record<string, unknown>> = this.claimed.results ?? {};
  /** The step's configuration in the template. */
  readonly config: Readonly<Record<string, unknown>> = this.claimed.config ?? {};
  /** The element for which this instance of a `map` runs, otherwise null. */
  readonly item: unknown = this.claimed.items?.['item'] ?? null;
  /** The value of the last `checkpoint` of this or an earlier attempt, initially null. */
  lastCheckpoint: unknown = this.claimed.checkpoint ?? null;
  /** Aborted when this attempt must stop; give it to `fetch`. */
  readonly signal = this.services.signal;
  /** The client that creates and reads tasks on behalf of this attempt. */
  readonly client = this.services.client;
  /** Writes log records that are stored with this attempt. */
  readonly logger: StepLogger = this.services.log;
  /** How a durable call ended this attempt; set even if the handler catches what it throws. */
  suspended: Suspended | null = null;

  private recorded: Promise<Map<string, RecordedCall>> | undefined;
  /** The kinds of the durable calls by name. */
  private readonly calls = new Map<string, string>();
  /** How many durable calls of each kind are named by their number. */
  private readonly numbered = new Map<string, number>();

  constructor(
    private readonly claimed: ClaimedStep,
    private readonly services: AttemptServices,
  ) {}

  /** Return one input, undefined if it is absent. `T` is not checked. */
  getInput<T = unknown>(name: string): T {
    return this.input[name] as T;
  }

  /** Return one input, or `otherwise` if it is absent or null. */
  getInputOr<T>(name: string, otherwise: T): T {
    return (this.input[name] ?? otherwise) as T;
  }

  /** Return the result of an earlier step, or null if it has none. `T` is not checked. */
  getDependencyResult<T = unknown>(step: string): T {
    return (this.results[step] ?? null) as T;
  }

  /** Return a part of a result, such as `('reserve', 'hold', 'id')`, or null if it is absent. */
  getDependencyField<T = unknown>(step: string, ...path: string[]): T {
    let value = this.results[step];
    for (const key of path) value = (value as Record<string, unknown> | null | undefined)?.[key];
    return (value ?? null) as T;
  }

  /** Return one value of the step's configuration, undefined if it is absent. */
  getConfig<T = unknown>(name: string): T {
    return this.config[name] as T;
  }

  /** Return the error of an earlier step that failed, or null. */
  failureOf(step: string): unknown {
    return this.claimed.failures?.[step] ?? null;
  }

  /**
   * The numbers that this instance of a `batch` works on; `end` is not one of them.
   *
   * @throws PermanentError: the step is not part of a batch.
   */
  get cursor(): { start: number; end: number } {
    const cursor = this.claimed.items?.['cursor'];
    if (cursor === undefined) throw new PermanentError(`step ${this.step} is not part of a batch`);
    return cursor as { start: number; end: number };
  }

  /** @throws AttemptCancelled: the attempt must stop. */
  heartbeat(): void {
    this.signal.throwIfAborted();
    if (this.suspended !== null) throw this.suspended;
    this.services.beat();
  }

  /** Save the progress of this attempt for the next one; durable when the promise resolves. */
  async checkpoint(value: unknown): Promise<void> {
    this.heartbeat();
    requireJson(value, 'the checkpoint');
    await this.services.ask('checkpoint', { value });
    this.lastCheckpoint = value;
  }

  /** Save a checkpoint and return the step to its queue; the handler starts again later. */
  handBack(checkpoint: unknown): never {
    this.heartbeat();
    requireJson(checkpoint, 'the checkpoint');
    return this.suspend({ outcome: 'yielded', checkpoint });
  }

  /**
   * Report progress for people: a fraction from 0 to 1, and a text. It is sent within a second.
   *
   * @throws AttemptCancelled: the attempt must stop.
   */
  progress(fraction: number, message = ''): void {
    this.heartbeat();
    this.services.log.progress(Math.min(Math.max(fraction || 0, 0), 1), message);
  }

  /**
   * Call a function once over all attempts of the step, and return its result.
   *
   * If the process dies after the function has returned and before the result is stored, the
   * function is called again.
   */
  async once<T>(name: string, call: () => T | Promise<T>): Promise<T> {
    const record = await this.begin('once', name);
    if (record.call !== undefined) return record.call.value as T;
    const value = (await call()) ?? null;
    requireJson(value, `the result of the durable call ${name}`);
    this.heartbeat();
    await this.services.ask('once', { call: name, value });
    return asJson(value) as T;
  }

  /**
   * Wait without a worker: the attempt ends, and the handler runs again from its beginning when
   * the time has passed; this call then returns at once.
   *
   * @param wait - seconds, or the end of the sleep.
   */
  async sleep(wait: number | Date, callName?: string): Promise<void> {
    const { name, call } = await this.begin('sleep', callName);
    if (call === undefined) {
      const end = typeof wait === 'number' ? { delay_s: wait } : { until: wait.toISOString() };
      this.park({ ...end, call: name });
    }
    const left = call.remaining_s ?? 0;
    if (left > 0) this.park({ delay_s: left, call: name });
  }

  /**
   * Wait for a signal to this task, without a worker, and return its payload.
   *
   * @param options.key - a broadcast with this name and key ends the wait as well.
   * @throws PermanentError: it did not arrive in time; the code is `wait_timeout`.
   */
  async waitSignal<T = unknown>(name: string, options: WaitOptions & { key?: string } = {}): Promise<T> {
    const { key, ...wait } = options;
    const arrival = await this.wait<Arrival>('wait_signal', { signal: { name, key } }, `signal ${name}`, wait);
    return (arrival?.payload ?? null) as T;
  }

  /** Wait for the first of up to 20 signals; null after a timeout with `continue`. */
  waitAny(signals: (string | SignalName)[], options: WaitOptions = {}): Promise<Arrival | null> {
    const any = signals.map((each) => (typeof each === 'string' ? { name: each } : each));
    return this.wait('wait_any', { any }, `signal ${any.map(({ name }) => name).join(' or ')}`, options);
  }

  /** Wait for the decision of a person; null after a timeout with `continue`. */
  waitApproval(options: ApprovalOptions = {}): Promise<Decision | null> {
    const { assignees = [], form = null, escalateAfter = null, escalateTo = [], ...wait } = options;
    const approval = { assignees, form, escalate_after_s: escalateAfter, escalate_to: escalateTo };
    return this.wait('wait_approval', { approval }, 'the decision', wait);
  }

  /**
   * Run a task and return its result, without a worker while it runs.
   *
   * The task is created once over all attempts, with this task's correlation id.
   *
   * @param template - such as `payments.refund` or `payments.refund@^2`.
   * @throws PermanentError: the task failed or was cancelled, with the code of its error.
   */
  async runTask<T = unknown>(template: string, context: object = {}, options: RunTaskOptions = {}): Promise<T> {
    const { callName, ...how } = options;
    const { name, call } = await this.begin('run_task', callName);
    if (call !== undefined) return call.value as T;
    const request = { call: name, template, context, ...how };
    const { task_id, status, result, error } = await this.services.ask<ChildTask>('run_task', request);
    if (status === 'complete' || status === 'resolved_manually') return result as T;
    if (status !== 'error' && status !== 'cancelled') return this.park({ task: task_id });
    const message = error?.message ?? `the task of ${template} ended as ${status}`;
    throw new PermanentError(message, { code: error?.code ?? 'task_failed' });
  }

  /** Add instances to the `map` of `step`, which this step is part of. */
  async spawn(step: string, items: unknown[], callName?: string): Promise<void> {
    requireJson(items, 'the items');
    const { name } = await this.begin('spawn', callName);
    await this.services.ask('spawn', { call: name, step, items });
  }

  /** @param words - what the wait is for, in messages. */
  private async wait<T>(kind: string, what: WaitFor, words: string, options: WaitOptions): Promise<T | null> {
    const { name, call } = await this.begin(kind, options.callName);
    if (call === undefined) this.park({ ...what, timeout_s: options.timeout ?? null, call: name });
    const arrival = call.value as T & { timed_out?: true };
    if (!arrival.timed_out) return arrival;
    if (options.onTimeout === 'continue') return null;
    throw new PermanentError(`${words} did not arrive in time`, { code: 'wait_timeout' });
  }

  /** Name a durable call, and return its name and what an earlier attempt recorded. */
  private async begin(kind: string, given?: string): Promise<{ name: string; call: RecordedCall | undefined }> {
    this.heartbeat();
    const name = given ?? this.nextName(kind);
    const before = this.calls.get(name);
    if (before !== undefined) {
      throw conflict(
        `step ${this.step} makes two durable calls with the name ${name} (${before} and ${kind}):` +
          ' give each call its own name, in a loop with its number',
      );
    }
    this.calls.set(name, kind);
    this.recorded ??= this.loadCalls();
    const call = (await this.recorded).get(name);
    if (call !== undefined && call.kind !== kind) {
      throw conflict(
        `step ${this.step} recorded ${name} as a call of ${call.kind}, but now calls ${kind} with` +
          ' that name: restore the order of its calls, give them names, or delete the records with' +
          ' `tasker task retry --fresh`',
      );
    }
    return { name, call };
  }

  private nextName(kind: string): string {
    const number = (this.numbered.get(kind) ?? 0) + 1;
    this.numbered.set(kind, number);
    return `${kind}-${number}`;
  }

  private async loadCalls(): Promise<Map<string, RecordedCall>> {
    if (this.attempt === 1) return new Map();
    const { calls } = await this.services.ask<{ calls: RecordedCall[] }>('calls');
    return new Map(calls.map((call) => [call.name, call]));
  }

  private park(wait_for: WaitFor): never {
    return this.suspend({ outcome: 'parked', wait_for });
  }

  private suspend(ending: Ending): never {
    this.suspended ??= new Suspended(ending);
    throw this.suspended;
  }
}

function conflict(message: string): PermanentError {
  return new PermanentError(message, { code: 'durable_call_conflict' });
}
