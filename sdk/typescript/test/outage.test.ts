import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Outage } from '../dist/outage.js';

test('an outage is logged at growing intervals and when it ends', () => {
  let now = 0;
  const lines: string[] = [];
  const log = { warn: (line: string) => lines.push(line), error: () => {} };
  const outage = new Outage('http://t', log, () => now);
  const logged = [0, 1, 9, 10, 29, 30].map((at) => {
    now = at * 1_000;
    outage.note(new Error('refused'));
    return lines.length;
  });
  outage.end();
  outage.end();
  assert.deepEqual(logged, [1, 1, 1, 2, 2, 3]);
  assert.match(lines[0] ?? '', /the server http:\/\/t is unavailable.*refused/);
  assert.deepEqual(lines.slice(3), ['the server http://t is available again after 30 s']);
});
