import { ApiError, TaskerError, Unreachable } from './errors.js';
import type { Outage } from './outage.js';
import type { Problem } from './protocol.js';
import { openTransport, type Transport } from './transport.js';

const RETRIED = new Set([429, 502, 503, 504]);
const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 5_000;

export interface ConnectionOptions {
  /** The server's URL; default: `TASKER_URL`, otherwise `http://localhost:8080`. */
  url?: string | undefined;
  /** An API key; default: `TASKER_API_KEY`. */
  apiKey?: string | undefined;
}

export interface Call {
  /** Sent as JSON. */
  body?: unknown;
  /** JSON text to send instead of `body`. */
  text?: string;
  headers?: Record<string, string>;
  /** Time limit in seconds of each try; default: 30. */
  within?: number;
  /** How often a failed request is repeated; default: 5. */
  retries?: number;
  signal?: AbortSignal | undefined;
}

/** Sends requests to a server as JSON, and repeats them while it is unreachable or overloaded. */
export class Api {
  readonly url: string;
  /** Told of failures that are tried again, and of answers. */
  outage: Outage | undefined;
  private readonly headers: Record<string, string>;
  private readonly transport: Transport = openTransport();

  constructor(options: ConnectionOptions = {}) {
    const given = options.url ?? process.env['TASKER_URL'] ?? 'http://localhost:8080';
    if (!/^https?:\/\//.test(given)) {
      throw new TaskerError(`the server's URL must begin with http:// or https://, not ${given}`);
    }
    this.url = given.replace(/\/+$/, '');
    const key = options.apiKey ?? process.env['TASKER_API_KEY'];
    this.headers = { accept: 'application/json' };
    if (key) this.headers['x-api-key'] = key;
  }

  /**
   * Send a request and return the JSON of its answer.
   *
   * @throws ApiError: the server refused it.
   * @throws Unreachable: there was no answer, after all retries.
   * @throws unknown: the reason of `signal`.
   */
  async send<T>(method: string, path: string, call: Call = {}): Promise<T> {
    for (let tried = 0; ; tried++) {
      try {
        const answer = await this.sendOnce<T>(method, path, call);
        this.outage?.end();
        return answer;
      } catch (error) {
        call.signal?.throwIfAborted();
        const pause = pauseAfter(error, tried);
        if (pause === null) this.outage?.end();
        else this.outage?.note(error);
        if (pause === null || tried >= (call.retries ?? 5)) throw error;
        await sleep(pause, call.signal);
        call.signal?.throwIfAborted();
      }
    }
  }

  private async sendOnce<T>(method: string, path: string, call: Call): Promise<T> {
    const body = call.text ?? (call.body === undefined ? undefined : JSON.stringify(call.body));
    const headers = { ...this.headers, ...call.headers };
    if (body !== undefined) {
      headers['content-type'] = 'application/json';
      headers['content-length'] = String(Buffer.byteLength(body));
    }
    const answer = await this.transport({
      method,
      url: new URL(this.url + path),
      headers,
      body,
      timeout: (call.within ?? 30) * 1_000,
      signal: call.signal,
    });
    const read = parse(answer.body);
    if (answer.status >= 200 && answer.status < 300) {
      if (read === undefined && answer.status !== 204) {
        throw new Unreachable(`${this.url}${path} answered ${answer.status} without JSON`);
      }
      return read as T;
    }
    const seconds = Number(answer.retryAfter ?? Number.NaN);
    const retryAfter = Number.isFinite(seconds) ? seconds : null;
    throw new ApiError(answer.status, (read ?? {}) as Problem, retryAfter);
  }
}

/** Return the milliseconds after which a failed request may be repeated; null: it may not. */
export function pauseAfter(error: unknown, tried: number): number | null {
  const refused = error instanceof ApiError;
  if (refused ? !RETRIED.has(error.status) : !(error instanceof Unreachable)) return null;
  if (refused && error.retryAfter !== null) return Math.min(error.retryAfter, 60) * 1_000;
  return (0.5 + Math.random() / 2) * Math.min(FIRST_PAUSE * 2 ** tried, LONGEST_PAUSE);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Return after a time in milliseconds, or at once if `signal` is or gets aborted. */
export function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal?.addEventListener('abort', done);
  });
}
