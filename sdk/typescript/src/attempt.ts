import { type Api, type Call, pauseAfter } from './api.js';
import { Client } from './client.js';
import { type AttemptServices, StepContext } from './context.js';
import { ApiError, AttemptCancelled, errorBody, PermanentError } from './errors.js';
import { type Handler, StepHandlerResult } from './handler.js';
import { requireJson } from './json.js';
import { type Logger, StepLog } from './log.js';
import type { ClaimedStep, Ending, Payload, Registered } from './protocol.js';

const LONGEST_TIMER = 2 ** 31 - 1;
const SEND_LOGS_EVERY = 500; // milliseconds

/** An attempt that a worker runs. */
export class Attempt implements AttemptServices {
  readonly client: Client;
  readonly log = new StepLog();
  private readonly stopping = new AbortController();
  private readonly began = performance.now();
  private lastHeartbeat = this.began;
  private timer: NodeJS.Timeout | undefined;

  /** @param overdue - called with the outcome when the attempt exceeds a time limit. */
  constructor(
    private readonly claimed: ClaimedStep,
    private readonly api: Api,
    private readonly registered: Registered,
    private readonly logger: Logger,
    private readonly overdue: (ending: Ending) => void,
  ) {
    const { ticket, idempotency_key: idempotencyKey } = claimed;
    this.client = new Client({}, { api, ticket, idempotencyKey });
  }

  get signal(): AbortSignal {
    return this.stopping.signal;
  }

  beat(): void {
    this.lastHeartbeat = performance.now();
  }

  /** Abort the handler; what it does from now on counts for nothing. */
  stop(reason: string): void {
    clearTimeout(this.timer);
    this.stopping.abort(new AttemptCancelled(`the attempt must stop: ${reason}`));
  }

  /** Run the handler; return how the attempt ended, or null if it was stopped. */
  async run(handler: Handler | undefined): Promise<Ending | null> {
    this.watch();
    const logs = setInterval(() => void this.sendLog(), SEND_LOGS_EVERY);
    const ending = await this.call(handler).catch(failed);
    clearInterval(logs);
    await this.sendLog(); // before the outcome: after it, the attempt is over
    clearTimeout(this.timer);
    return this.signal.aborted ? null : ending;
  }

  private async call(handler: Handler | undefined): Promise<Ending> {
    if (handler === undefined) {
      const message = `this worker has no handler ${this.claimed.handler}`;
      throw new PermanentError(message, { code: 'handler_not_found' });
    }
    const payload = this.claimed.payload ? await this.ask<Payload>('payload') : {};
    return runHandler(handler, new StepContext({ ...this.claimed, ...payload }, this));
  }

  /** Wait for the first time limit, and report that it is exceeded. */
  private watch(): void {
    const { timeout_s, heartbeat_timeout_s } = this.claimed;
    const limits = [
      { code: 'timeout', limit: timeout_s, since: this.began, what: 'the attempt took longer than' },
      { code: 'heartbeat_timeout', limit: heartbeat_timeout_s, since: this.lastHeartbeat, what: 'no heartbeat within' },
    ];
    const ends = limits.flatMap(({ code, limit, since, what }) =>
      limit ? [{ code, end: since + limit * 1_000, message: `${what} ${limit} s` }] : [],
    );
    const [first] = ends.sort((one, other) => one.end - other.end);
    if (first === undefined) return;
    const { code, end, message } = first;
    const left = end - performance.now();
    if (left > 0) {
      this.timer = setTimeout(() => this.watch(), Math.min(left, LONGEST_TIMER));
      return;
    }
    this.overdue({ outcome: 'failed', error: { type: 'Timeout', code, message, retryable: true } });
    this.stop(message);
  }

  /** Send the log records that were not sent yet, with one try: what fails is sent by the next call. */
  private async sendLog(): Promise<void> {
    if (!this.registered.features?.includes('logs')) return;
    await this.log.flush(async (lines) => {
      if (this.signal.aborted) return false;
      try {
        await this.send('logs', { lines }, { retries: 0, within: 5 });
      } catch (error) {
        if (this.signal.aborted || pauseAfter(error, 0) !== null) return false;
        this.logger.warn(`log records were refused: ${String(error)}`);
      }
      return true;
    });
  }

  async ask<T>(route: string, body: object = {}): Promise<T> {
    try {
      return await this.send<T>(route, body, { retries: Number.POSITIVE_INFINITY });
    } catch (error) {
      this.signal.throwIfAborted();
      if (!(error instanceof ApiError)) throw error;
      throw new PermanentError(error.message, { code: error.code, cause: error });
    }
  }

  private async send<T>(route: string, body: object, how: Call): Promise<T> {
    const path = `/v1/workers/${this.registered.worker}/${route}`;
    const fields = { ticket: this.claimed.ticket, ...body };
    try {
      return await this.api.send<T>('POST', path, { ...how, body: fields, signal: this.signal });
    } catch (error) {
      if (error instanceof ApiError && (error.isLeaseLost || error.code === 'attempt_cancelled')) {
        this.stop(error.message);
      }
      throw error;
    }
  }
}

function failed(error: unknown): Ending {
  return { outcome: 'failed', error: errorBody(error) };
}

/** Run a handler, and return how its attempt ended. */
export async function runHandler(handler: Handler, context: StepContext): Promise<Ending> {
  const ending = await endingOf(handler, context).catch(failed);
  return context.suspended?.ending ?? ending;
}

async function endingOf(handler: Handler, context: StepContext): Promise<Ending> {
  const returned = await handler.call(context);
  const result = returned instanceof StepHandlerResult ? returned.unwrap() : returned;
  requireJson(result, 'the result');
  return { outcome: 'complete', result: result ?? null };
}
