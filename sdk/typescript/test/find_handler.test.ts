import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defineHandler, type HandlerOptions } from 'tasker';
import { findHandler } from '../dist/handler.js';

const handler = (name: string, options: HandlerOptions) => defineHandler(name, options, () => null);
const handlers = [
  handler('pay', { versions: ['1.0.0'] }),
  handler('pay', { versions: ['2.0.0'] }),
  handler('pay', { namespaces: ['eu'] }),
  handler('us::pay', { namespaces: ['us'] }),
];

function indexOf(name: string, namespace: string, handler_index?: number): number {
  const step = {
    ticket: 't',
    task_id: 't',
    step: 's',
    template: 't',
    version: '1.0.0',
    attempt: 1,
    counted_attempts: 1,
  };
  const keys = { max_attempts: 1, idempotency_key: 'k', correlation_id: 'c' };
  const chosen = handler_index === undefined ? {} : { handler_index };
  const found = findHandler(handlers, { ...step, ...keys, handler: name, namespace, ...chosen });
  return found === undefined ? -1 : handlers.indexOf(found);
}

test('the server chooses the handler of a step', () => {
  assert.deepEqual(
    [0, 1, 2, 3, 4].map((index) => indexOf('pay', 'eu', index)),
    [0, 1, 2, 3, -1],
  );
});

test('without a choice, a handler is found by its name and namespace', () => {
  assert.equal(indexOf('pay', 'us'), 3);
  assert.equal(indexOf('us.pay', 'us'), 3);
  assert.equal(indexOf('eu::pay', 'eu'), 0);
  assert.equal(indexOf('pay', 'asia'), 0);
  assert.equal(indexOf('us.pay', 'asia'), -1);
  assert.equal(indexOf('refund', 'eu'), -1);
});
