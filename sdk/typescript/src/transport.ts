import http from 'node:http';
import https from 'node:https';
import { Unreachable } from './errors.js';

export interface Request {
  method: string;
  url: URL;
  headers: Record<string, string>;
  body: string | undefined;
  /** Time limit in milliseconds. */
  timeout: number;
  signal: AbortSignal | undefined;
}

export interface Response {
  status: number;
  /** The header `Retry-After`, or null. */
  retryAfter: string | null;
  body: string;
}

export type Transport = (request: Request) => Promise<Response>;

/** Return what sends requests: `node:http`, on Bun too; `fetch` costs twice as much on Node. */
export function openTransport(): Transport {
  const options = { keepAlive: true, maxSockets: 64 };
  const agents = { 'http:': new http.Agent(options), 'https:': new https.Agent(options) };
  return ({ method, url, headers, body, timeout, signal }) =>
    new Promise((resolve, reject) => {
      const secure = url.protocol === 'https:';
      const agent = secure ? agents['https:'] : agents['http:'];
      const fail = (error: Error) => {
        clearTimeout(timer);
        reject(unreachable(url, error));
      };
      const sent = (secure ? https : http).request(url, { method, headers, agent, signal }, (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.on('error', fail);
        answer.on('end', () => {
          clearTimeout(timer);
          resolve({
            status: answer.statusCode ?? 0,
            retryAfter: answer.headers['retry-after'] ?? null,
            body: Buffer.concat(chunks).toString('utf8'),
          });
        });
      });
      const timer = setTimeout(() => sent.destroy(new Error(`no answer within ${timeout} ms`)), timeout);
      sent.on('error', fail);
      sent.end(body);
    });
}

function unreachable(url: URL, cause: unknown): Unreachable {
  const why = cause instanceof Error ? cause.message || String(cause) : String(cause);
  return new Unreachable(`${url.origin} cannot be reached: ${why}`, { cause });
}
