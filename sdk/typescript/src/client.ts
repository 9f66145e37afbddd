import { Api, type ConnectionOptions } from './api.js';
import { TaskFailed, TaskerError } from './errors.js';
import type { ClaimedStep } from './protocol.js';

/** A task as the server describes it; further fields are in the API's documentation. */
export interface Task {
  id: string;
  namespace: string;
  name: string;
  version: string;
  /** `pending`, `in_progress`, `complete`, `error`, `cancelled` or `resolved_manually`. */
  status: string;
  context: Record<string, unknown>;
  result: unknown;
  error: unknown;
  [field: string]: unknown;
}

export interface CreateOptions {
  /** Default: the first part of the template's name, otherwise `default`. */
  namespace?: string;
  /** A version or a range such as `^2`; default: the latest release. */
  version?: string;
  /** A second request with the same key returns the same task. */
  idempotencyKey?: string;
  correlationId?: string;
  /** Seconds until the first step may start. */
  delay?: number;
  priority?: string | number;
  tags?: string[];
  reason?: string;
  /** Further fields of the request body, in the API's names. */
  fields?: Record<string, unknown>;
}

export interface RunOptions extends CreateOptions {
  /** Maximum wait in seconds; default: no limit. */
  timeout?: number;
}

export interface SignalOptions {
  /** A second signal with the same id changes nothing. */
  id?: string;
  reason?: string;
}

export interface SignalSent {
  created: boolean;
  [field: string]: unknown;
}

const ENDED = new Set(['complete', 'error', 'cancelled', 'resolved_manually']);
const LONG_POLL = 20;

/** Creates and reads tasks. */
export class Client {
  private readonly api: Api;
  private created = 0;

  /** @param attempt - for the clients of step contexts: the attempt that tasks are created by. */
  constructor(
    options: ConnectionOptions = {},
    private readonly attempt?: { api: Api; claimed: ClaimedStep },
  ) {
    this.api = attempt?.api ?? new Api(options);
  }

  /**
   * Create a task and return it. Within a handler, later attempts of the step get the same task.
   *
   * @param template - the template's name, such as `payments.refund` or `payments.refund@^2`.
   * @throws ApiError: the template does not exist, or the context violates its schema.
   */
  async create(template: string, context: object = {}, options: CreateOptions = {}): Promise<Task> {
    const { idempotencyKey, correlationId, delay, fields, ...plain } = options;
    const claimed = this.attempt?.claimed;
    this.created += 1;
    const key = idempotencyKey ?? (claimed && `${claimed.idempotency_key}:create-${this.created}`);
    const named = { correlation_id: correlationId, delay_seconds: delay, idempotency_key: key };
    const body = { name: template, context, ...plain, ...named, ...fields }; // JSON drops what is undefined
    const headers = claimed && { 'tasker-ticket': claimed.ticket };
    const retries = key === undefined ? 0 : undefined; // a repetition might create a second task
    return this.api.send('POST', '/v1/tasks', { body, headers, retries });
  }

  /** Return a task. */
  get(id: string): Promise<Task> {
    return this.api.send('GET', `/v1/tasks/${encodeURIComponent(id)}`);
  }

  /**
   * Wait until a task has ended, and return it.
   *
   * @param timeout - maximum wait in seconds; default: no limit.
   * @throws TaskerError: it has not ended in time.
   */
  async wait(id: string, timeout = Number.POSITIVE_INFINITY): Promise<Task> {
    const deadline = performance.now() + timeout * 1_000;
    for (;;) {
      const left = Math.max((deadline - performance.now()) / 1_000, 0);
      const seconds = Math.min(left, LONG_POLL);
      const path = `/v1/tasks/${encodeURIComponent(id)}/wait?timeout=${seconds}`;
      const task = await this.api.send<Task>('GET', path, { within: seconds + 15 });
      if (ENDED.has(task.status)) return task;
      if (performance.now() >= deadline) throw new TaskerError(`task ${id} is ${task.status} after ${timeout} s`);
    }
  }

  /**
   * Create a task, wait for its end and return its result.
   *
   * @throws TaskFailed: it ended in error or was cancelled.
   */
  async run<T = unknown>(template: string, context: object = {}, options: RunOptions = {}): Promise<T> {
    const { timeout, ...create } = options;
    const { id } = await this.create(template, context, create);
    const { status, result, error } = await this.wait(id, timeout);
    if (status === 'error' || status === 'cancelled') throw new TaskFailed(id, status, error);
    return result as T;
  }

  /** Send a signal to a task, for a step that waits for it or will. */
  signal(id: string, name: string, payload: unknown = null, options: SignalOptions = {}): Promise<SignalSent> {
    const { id: signalId = `once-${crypto.randomUUID()}`, reason = '' } = options;
    const body = { name, payload, id: signalId, reason };
    return this.api.send('POST', `/v1/tasks/${encodeURIComponent(id)}/signals`, { body });
  }
}
