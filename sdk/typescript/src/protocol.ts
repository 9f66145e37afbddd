// The messages of the worker protocol, version 1, as they are on the wire.

export const PROTOCOL = 1;

/** A problem document: how the server refuses a request. */
export interface Problem {
  status?: number;
  code?: string;
  title?: string;
  detail?: string;
  [field: string]: unknown;
}

/** The error of an attempt. */
export interface ErrorBody {
  type: string;
  message: string;
  code?: string | undefined;
  retryable: boolean;
  retry_after_s?: number | undefined;
  details?: unknown;
  trace?: string | undefined;
}

export interface Registered {
  worker: string;
  protocol: number;
  lease_s: number;
  renew_s: number;
  wait_s: number;
  max_outcomes: number;
  body_bytes: number;
  unserved?: string[];
  refused?: string[];
  features?: string[];
}

/** A durable call that an earlier attempt recorded. */
export interface RecordedCall {
  name: string;
  kind: string;
  value: unknown;
  /** Seconds until the end of a sleep; 0 or less if it is over. */
  remaining_s?: number;
}

/** What a handler works on. */
export interface Payload {
  context: Record<string, unknown>;
  config: Record<string, unknown>;
  results: Record<string, unknown>;
  failures: Record<string, unknown>;
  checkpoint: unknown;
  /** What an instance of a map, batch or loop is given: `item`, `index`, `cursor`, `iteration`. */
  items: Record<string, unknown>;
}

/** A step to run. */
export interface ClaimedStep extends Partial<Payload> {
  ticket: string;
  task_id: string;
  step: string;
  handler: string;
  /** Which handler to call, of the registration's list; absent from older servers' answers. */
  handler_index?: number | null;
  method?: string | null;
  namespace: string;
  template: string;
  version: string;
  attempt: number;
  counted_attempts: number;
  max_attempts: number;
  timeout_s?: number | null;
  heartbeat_timeout_s?: number | null;
  idempotency_key: string;
  correlation_id: string;
  parent_id?: string | null;
  traceparent?: string | null;
  completion_url?: string | null;
  /** Whether the fields of `Payload` are to be read in a request of their own. */
  payload?: boolean;
}

/** The state of a child task. */
export interface ChildTask {
  /** Null once the task has ended. */
  task_id: string | null;
  status: string;
  result: unknown;
  error: { code?: string; message?: string } | null;
}

/** The answer of register, claim, settle, renew and resume. */
export interface Answer extends Partial<Registered> {
  steps?: ClaimedStep[];
  cancelled?: string[];
  quiet?: boolean;
  problems?: Record<string, Problem>;
}

/** What a parked attempt waits for. */
export type WaitFor = Record<string, unknown>;

/** How an attempt ended. */
export type Ending =
  | { outcome: 'complete'; result: unknown }
  | { outcome: 'failed'; error: ErrorBody }
  | { outcome: 'released' }
  | { outcome: 'parked'; wait_for: WaitFor }
  | { outcome: 'yielded'; checkpoint: unknown };
