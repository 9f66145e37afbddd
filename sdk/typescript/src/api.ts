import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { text } from 'node:stream/consumers';
import timers from 'node:timers/promises';
import { ApiError, TaskerError, Unreachable } from './errors.js';
import type { Logger } from './log.js';
import { Outage } from './outage.js';
import type { Problem } from './protocol.js';

const RETRIED = new Set([429, 502, 503, 504]);
const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 5_000;
/** Milliseconds after a refusal that an operator has to mend. */
export const LATER = 5_000;

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
  headers?: Record<string, string> | undefined;
  /** Time limit in seconds of each try; default: 30. */
  within?: number;
  /** How often a failed request is repeated; default: 5. */
  retries?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** Sends requests to a server as JSON, and repeats them while it is unreachable or overloaded. */
export class Api {
  readonly url: string;
  private readonly headers: Record<string, string> = { accept: 'application/json', 'content-type': 'application/json' };
  /** `node:http`, on Bun too; `fetch` costs twice as much on Node. */
  private readonly http: typeof http | typeof https;
  private readonly agent: http.Agent;
  private readonly outage: Outage | undefined;

  /** @param log - told when the server gets unavailable, and when it is back. */
  constructor(options: ConnectionOptions = {}, log?: Logger) {
    const given = options.url ?? process.env['TASKER_URL'] ?? 'http://localhost:8080';
    if (!/^https?:\/\//.test(given)) {
      throw new TaskerError(`the server's URL must begin with http:// or https://, not ${given}`);
    }
    this.url = given.replace(/\/+$/, '');
    this.http = given.startsWith('https:') ? https : http;
    this.agent = new this.http.Agent({ keepAlive: true, maxSockets: 64 });
    this.outage = log && new Outage(this.url, log);
    const key = options.apiKey ?? process.env['TASKER_API_KEY'];
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
      call.signal?.throwIfAborted();
      try {
        const answer = await this.exchange<T>(method, path, call);
        this.outage?.end();
        return answer;
      } catch (error) {
        call.signal?.throwIfAborted();
        const pause = pauseAfter(error, tried);
        if (pause === null) this.outage?.end();
        else this.outage?.note(error);
        if (pause === null || tried >= (call.retries ?? 5)) throw error;
        await sleep(pause, call.signal);
      }
    }
  }

  private async exchange<T>(method: string, path: string, call: Call): Promise<T> {
    const { within = 30, signal } = call;
    const body = call.text ?? JSON.stringify(call.body);
    const headers = { ...this.headers, ...call.headers };
    const request = this.http.request(this.url + path, { method, headers, agent: this.agent, signal });
    request.on('error', () => {}); // one after the head of the answer
    const timer = setTimeout(() => request.destroy(new Error(`no answer within ${within} s`)), within * 1_000);
    try {
      request.end(body);
      const [answer] = (await once(request, 'response')) as [http.IncomingMessage];
      return read<T>(answer, await text(answer));
    } catch (error) {
      if (error instanceof TaskerError) throw error;
      const why = error instanceof Error ? error.message || String(error) : String(error);
      throw new Unreachable(`${this.url} cannot be reached: ${why}`, { cause: error });
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Return the JSON of an answer, undefined if it has none, or throw what it says. */
function read<T>(answer: http.IncomingMessage, body: string): T {
  const status = answer.statusCode ?? 0;
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    if (status < 300 && status !== 204) throw new Unreachable(`the server answered ${status} without JSON`);
  }
  if (status < 300) return json as T;
  const seconds = Number.parseFloat(answer.headers['retry-after'] ?? '');
  throw new ApiError(status, (json ?? {}) as Problem, Number.isFinite(seconds) ? seconds : null);
}

/** Return the milliseconds after which a failed request may be repeated; null: it may not. */
export function pauseAfter(error: unknown, tried: number): number | null {
  const refused = error instanceof ApiError;
  const repeated = refused && (RETRIED.has(error.status) || error.code === 'claim_under_way');
  if (!repeated && !(error instanceof Unreachable)) return null;
  if (refused && error.retryAfter !== null) return Math.min(error.retryAfter, 60) * 1_000;
  return (0.5 + Math.random() / 2) * Math.min(FIRST_PAUSE * 2 ** tried, LONGEST_PAUSE);
}

/** Return after a time in milliseconds, or at once if `signal` is or gets aborted. */
export function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return timers.setTimeout(milliseconds, undefined, signal ? { signal } : {}).catch(() => {});
}
