import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ApiError, defineHandler } from 'tasker';
import type { Api } from '../dist/api.js';
import { Session } from '../dist/session.js';

interface Sent {
  ticket: string;
  result?: unknown;
  error?: { message: string; retryable: boolean };
}

const REGISTERED = {
  worker: '1',
  protocol: 1,
  lease_s: 30,
  renew_s: 10,
  wait_s: 25,
  max_outcomes: 500,
  body_bytes: 1e6,
};

/** Return a server that hands out steps of these names once, and rejects each settlement with the result `bad`. */
function rejectingServer(names: string[], settled: Map<string, Sent>): Api {
  const send = async (method: string, path: string, { text }: { text?: string }): Promise<unknown> => {
    const route = path.split('/').at(-1);
    if (route === 'workers') return REGISTERED;
    if (route === 'claim' && names.length > 0) {
      const about = { task_id: 't', handler: 'echo', namespace: 'n', template: 't', version: '1.0.0', attempt: 1 };
      const keys = { counted_attempts: 1, max_attempts: 1, idempotency_key: 'k', correlation_id: 'c' };
      return { steps: names.splice(0).map((step) => ({ ticket: step, step, ...about, ...keys })) };
    }
    if (route === 'settle') {
      const { outcomes } = JSON.parse(text ?? '') as { outcomes: Sent[] };
      if (outcomes.some(({ result }) => result === 'bad')) throw new ApiError(413, { detail: 'the body is too large' });
      for (const outcome of outcomes) settled.set(outcome.ticket, outcome);
    }
    return route === 'settle' || method === 'DELETE' ? {} : new Promise(() => {});
  };
  return { send } as unknown as Api;
}

test('of several outcomes in a rejected settlement, only the rejected one fails', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  const settled = new Map<string, Sent>();
  const stopping = new AbortController();
  const echo = defineHandler('echo', (context) => context.step);
  const api = rejectingServer(['a', 'b', 'bad', 'c', 'd'], settled);
  const running = new Session(api, {}, [echo], 10, stopping.signal, console).run(0);
  t.mock.method(console, 'error', () => {});

  for (let turn = 0; turn < 100 && settled.size < 5; turn++) {
    await nextTurn();
    t.mock.timers.tick(5_000); // the pause after a rejection
  }
  stopping.abort();
  await running;

  const results = [...settled.values()].map(({ ticket, result }) => [ticket, result]).sort();
  assert.deepEqual(results, [
    ['a', 'a'],
    ['b', 'b'],
    ['bad', undefined],
    ['c', 'c'],
    ['d', 'd'],
  ]);
  const error = settled.get('bad')?.error;
  assert.deepEqual(
    [error?.retryable, error?.message],
    [false, 'the server rejected the outcome: the body is too large'],
  );
});
