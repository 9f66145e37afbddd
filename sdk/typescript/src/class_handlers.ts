// Handlers that are classes, as in earlier Taskers.

import type { StepContext } from './context.js';
import { PermanentError, RetryableError } from './errors.js';
import type { Handler, HandlerOptions } from './handler.js';

/** Kinds of failures. */
export const ErrorType = {
  PERMANENT_ERROR: 'permanent_error',
  RETRYABLE_ERROR: 'retryable_error',
  VALIDATION_ERROR: 'validation_error',
  TIMEOUT: 'timeout',
  HANDLER_ERROR: 'handler_error',
} as const;
export type ErrorType = (typeof ErrorType)[keyof typeof ErrorType];

/** What a `StepHandler` returns: a result or a failure. */
export class StepHandlerResult {
  constructor(
    readonly result: unknown,
    readonly error: PermanentError | RetryableError | null = null,
  ) {}

  get success(): boolean {
    return this.error === null;
  }

  /** Return the result, or throw the failure. */
  unwrap(): unknown {
    if (this.error !== null) throw this.error;
    return this.result;
  }
}

/** A handler as a class, with the name that templates use as static `handlerName`. */
export abstract class StepHandler {
  abstract call(context: StepContext): StepHandlerResult | Promise<StepHandlerResult>;

  /** Return a success; `result` is what later steps get. */
  protected success(result: unknown): StepHandlerResult {
    return new StepHandlerResult(result);
  }

  /** Return a failure; the template decides about the next attempt if it is retryable. */
  protected failure(
    message: string,
    errorType: ErrorType | (string & {}) = ErrorType.HANDLER_ERROR,
    retryable = true,
    details?: unknown,
  ): StepHandlerResult {
    const Kind = retryable ? RetryableError : PermanentError;
    return new StepHandlerResult(null, new Kind(message, { code: errorType, details }));
  }
}

export type StepHandlerClass = (new () => StepHandler) & { handlerName: string } & HandlerOptions;

/** Return the handler of a class; each attempt gets an object of its own. */
export function handlerOf(given: Handler | StepHandlerClass): Handler {
  if (typeof given !== 'function') return given;
  const { handlerName, needs, namespaces, versions } = given;
  if (!handlerName) throw new TypeError(`class ${given.name} needs a static handlerName`);
  return { handlerName, needs, namespaces, versions, call: (context) => new given().call(context) };
}
