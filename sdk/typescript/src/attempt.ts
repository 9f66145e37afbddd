import { type Api, type Call, pauseAfter } from './api.js';
import { StepHandlerResult } from './class_handlers.js';
import { Client } from './client.js';
import { type AttemptServices, StepContext } from './context.js';
import { ApiError, AttemptCancelled, PermanentError, type RetryableError } from './errors.js';
import type { Handler } from './handler.js';
import { asJson, requireJson } from './json.js';
import { type Logger, type LogRecord, StepLog } from './log.js';
import type { ClaimedStep, Ending, ErrorBody, Payload, Registered } from './protocol.js';

const LONGEST_TIMER = 2 ** 31 - 1; // milliseconds; longer limits are not watched
const SEND_LOGS_EVERY = 500; // milliseconds

/** An attempt that a worker runs. */
export class Attempt implements AttemptServices {
  readonly client = new Client({}, this);
  readonly log = new StepLog((lines) => this.sendLog(lines));
  private readonly stopping = new AbortController();
  readonly signal: AbortSignal = this.stopping.signal;
  private readonly timers: NodeJS.Timeout[] = [];
  private heartbeatTimer: NodeJS.Timeout | undefined;

  /** @param overdue - called with the outcome when the attempt exceeds a time limit. */
  constructor(
    readonly claimed: ClaimedStep,
    readonly api: Api,
    private readonly registered: Registered,
    private readonly logger: Logger,
    private readonly overdue: (ending: Ending) => void,
  ) {}

  beat(): void {
    this.heartbeatTimer?.refresh();
  }

  /** Abort the handler; what it does from now on counts for nothing. */
  stop(reason: string): void {
    this.clearTimers();
    this.stopping.abort(new AttemptCancelled(`the attempt must stop: ${reason}`));
  }

  /** Run the handler, and return how the attempt ended; that counts for nothing if it was stopped. */
  async run(handler: Handler | undefined): Promise<Ending> {
    const { timeout_s, heartbeat_timeout_s } = this.claimed;
    this.limit('timeout', timeout_s, 'the attempt took longer than');
    this.heartbeatTimer = this.limit('heartbeat_timeout', heartbeat_timeout_s, 'no heartbeat within');
    this.timers.push(setInterval(() => void this.log.flush(), SEND_LOGS_EVERY));
    const ending = await this.call(handler).catch(failed);
    this.clearTimers();
    await this.log.flush(); // before the outcome: after it, the attempt is over
    return ending;
  }

  private async call(handler: Handler | undefined): Promise<Ending> {
    if (handler === undefined) {
      const message = `this worker has no handler ${this.claimed.handler}`;
      return failure('PermanentError', 'handler_not_found', message);
    }
    const payload = this.claimed.payload ? await this.ask<Payload>('payload') : {};
    return runHandler(handler, new StepContext({ ...this.claimed, ...payload }, this));
  }

  /** Stop the attempt and let it fail when a time limit in seconds is exceeded. */
  private limit(code: string, seconds: number | null | undefined, what: string): NodeJS.Timeout | undefined {
    if (!seconds || seconds * 1_000 > LONGEST_TIMER) return undefined;
    const message = `${what} ${seconds} s`;
    const timer = setTimeout(() => {
      this.stop(message);
      this.overdue(failure('Timeout', code, message, true));
    }, seconds * 1_000);
    this.timers.push(timer);
    return timer;
  }

  private clearTimers(): void {
    for (const timer of this.timers) clearTimeout(timer);
  }

  /** Send log records with one try; return false if they are to be sent again. */
  private async sendLog(lines: LogRecord[]): Promise<boolean> {
    if (!this.registered.features?.includes('logs')) return true;
    try {
      await this.ask('logs', { lines }, { retries: 0, within: 5 });
    } catch (error) {
      if (!(error instanceof PermanentError)) return false;
      this.logger.warn(`log records were refused: ${error.message}`);
    }
    return true;
  }

  async ask<T>(route: string, body: object = {}, how: Call = { retries: Number.POSITIVE_INFINITY }): Promise<T> {
    const path = `/v1/workers/${this.registered.worker}/${route}`;
    const call = { ...how, body: { ticket: this.claimed.ticket, ...body }, signal: this.signal };
    try {
      return await this.api.send<T>('POST', path, call);
    } catch (error) {
      if (!(error instanceof ApiError) || pauseAfter(error, 0) !== null) throw error;
      if (error.isLeaseLost || error.code === 'attempt_cancelled') this.stop(error.message);
      this.signal.throwIfAborted();
      throw new PermanentError(error.message, { code: error.code, cause: error });
    }
  }
}

/** Run a handler, and return how its attempt ended. */
export async function runHandler(handler: Handler, context: StepContext): Promise<Ending> {
  const ending = await resultOf(handler, context).catch(failed);
  return context.suspended?.ending ?? ending;
}

async function resultOf(handler: Handler, context: StepContext): Promise<Ending> {
  const returned = await handler.call(context);
  const result = returned instanceof StepHandlerResult ? returned.unwrap() : returned;
  requireJson(result, 'the result');
  return { outcome: 'complete', result: result ?? null };
}

/** Return a failure that the worker reports on its own. */
export function failure(type: string, code: string, message: string, retryable = false): Ending {
  return { outcome: 'failed', error: { type, code, message, retryable } };
}

function failed(error: unknown): Ending {
  return { outcome: 'failed', error: errorBody(error) };
}

/** Return an error as the protocol carries it. */
function errorBody(error: unknown): ErrorBody {
  if (!(error instanceof Error)) return { type: typeof error, message: String(error), retryable: true };
  const { code, details, retryAfter } = error as Partial<RetryableError>;
  return {
    type: error.constructor.name,
    message: error.message,
    retryable: !(error instanceof PermanentError),
    code: typeof code === 'string' ? code : undefined,
    details: details === undefined ? undefined : asJson(details),
    retry_after_s: typeof retryAfter === 'number' ? retryAfter : undefined,
    trace: error.stack,
  };
}
