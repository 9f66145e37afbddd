import type { Problem } from './protocol.js';

/** Options of errors that a handler throws. */
export interface StepErrorOptions {
  /** A code for programs, such as `GATEWAY_DOWN`. */
  code?: string;
  /** JSON about the failure, shown with it. */
  details?: unknown;
  cause?: unknown;
}

/** The base of this package's errors. */
export class TaskerError extends Error {
  override name = this.constructor.name;
}

/** An error of a handler: see PermanentError and RetryableError. */
class StepError extends TaskerError {
  readonly code: string | undefined;
  readonly details: unknown;

  constructor(message: string, { code, details, cause }: StepErrorOptions = {}) {
    super(message, { cause });
    this.code = code;
    this.details = details;
  }
}

/** Ends a step in error: another attempt cannot help. */
export class PermanentError extends StepError {}

/** Fails an attempt; the template's retry policy decides whether and when the next one starts. */
export class RetryableError extends StepError {
  /** Seconds until the next attempt; undefined: as the template says. */
  readonly retryAfter: number | undefined;

  constructor(message: string, options: StepErrorOptions & { retryAfter?: number } = {}) {
    super(message, options);
    this.retryAfter = options.retryAfter;
  }
}

/** The attempt must stop: it timed out, its task was cancelled, or the worker lost its lease. */
export class AttemptCancelled extends TaskerError {}

/** The server refused a request. */
export class ApiError extends TaskerError {
  /** The problem's code, such as `not_found`. */
  readonly code = this.problem.code ?? `http_${this.status}`;

  /**
   * @param status - the HTTP status.
   * @param retryAfter - seconds after which the server asks for a repetition, or null.
   */
  constructor(
    readonly status: number,
    readonly problem: Problem,
    readonly retryAfter: number | null = null,
  ) {
    super(problem.detail ?? problem.title ?? `the server answered ${status}`);
  }

  /** Whether the worker has to register again. */
  get isLeaseLost(): boolean {
    return this.code === 'lease_lost' || this.code === 'unknown_worker';
  }
}

/** The server cannot be reached, or did not answer in time. */
export class Unreachable extends TaskerError {}

/** A task that was waited for ended without success. */
export class TaskFailed extends TaskerError {
  constructor(
    readonly taskId: string,
    readonly status: string,
    readonly error: unknown,
  ) {
    const message = (error as { message?: string } | null)?.message;
    super(`task ${taskId} ended as ${status}${message === undefined ? '' : `: ${message}`}`);
  }
}
