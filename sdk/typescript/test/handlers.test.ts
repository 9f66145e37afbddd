import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  choose,
  defineHandler,
  ErrorType,
  type Handler,
  type HandlerOptions,
  PermanentError,
  RetryableError,
  type StepContext,
  StepHandler,
  type StepHandlerResult,
  typed,
  Worker,
} from 'tasker';
import { runStep } from 'tasker/testing';

interface Cart {
  total: number;
}

const charge = defineHandler(
  'shop.charge',
  { depends: { cart: typed<Cart>('validate_cart') }, inputs: { card: 'card_number', tip: typed<number>('tip') } },
  async ({ cart, card, tip, context }) => ({
    charged: cart.total + (tip ?? 0),
    card: card as string,
    key: context.idempotencyKey,
  }),
);

class Reserve extends StepHandler {
  static handlerName = 'shop.reserve';

  async call(context: StepContext): Promise<StepHandlerResult> {
    const order = context.getInput<{ id?: string } | undefined>('order') ?? {};
    if (!order.id) return this.failure('an order needs an id', ErrorType.VALIDATION_ERROR, false);
    return this.success({ reserved: order.id });
  }
}

test('results and inputs arrive under their names', async () => {
  const run = await runStep(charge, { input: { card_number: '4111', tip: 2 }, results: { validate_cart: { total: 40 } } });

  assert.equal(run.outcome, 'complete');
  assert.deepEqual(run.result, { charged: 42, card: '4111', key: '01890a5d-ac96-774b-bcce-b302099a8057:step' });
});

test('only the results that a handler depends on are needed', () => {
  assert.deepEqual(charge.needs, ['validate_cart']);
  assert.equal(defineHandler('x', () => null).needs, undefined);
});

test('a class returns its result or a failure', async () => {
  const reserved = await runStep(Reserve, { input: { order: { id: 'o-1' } } });
  const failed = await runStep(Reserve);

  assert.deepEqual(reserved.result, { reserved: 'o-1' });
  assert.equal(failed.outcome, 'failed');
  assert.equal(failed.error?.code, 'validation_error');
  assert.equal(failed.error?.retryable, false);
});

test('errors are classified', async () => {
  const cases: [unknown, object][] = [
    [new PermanentError('no', { code: 'NO', details: { at: 1 } }), { type: 'PermanentError', message: 'no', retryable: false, code: 'NO', details: { at: 1 } }],
    [new RetryableError('later', { retryAfter: 7 }), { type: 'RetryableError', message: 'later', retryable: true, retry_after_s: 7 }],
    [new RangeError('boom'), { type: 'RangeError', message: 'boom', retryable: true }],
    ['text', { type: 'string', message: 'text', retryable: true }],
  ];
  for (const [thrown, expected] of cases) {
    const run = await runStep(defineHandler('x', () => Promise.reject(thrown)));
    const { trace: _, ...error } = run.error ?? {};
    assert.deepEqual(error, expected);
  }
});

test('a result without a JSON form fails for good, with its path', async () => {
  const loop: { self?: object } = {};
  loop.self = loop;
  const cases: [unknown, string][] = [
    [{ list: [1, 10n] }, '$.list[1] is a bigint'],
    [{ rate: Number.NaN }, '$.rate is NaN'],
    [loop, '$.self contains itself'],
    [new Map(), '$ is a Map'],
    [{ call: () => 1 }, '$.call is a function'],
  ];
  for (const [result, expected] of cases) {
    const run = await runStep(defineHandler('x', () => result));
    assert.equal(run.error?.message, `the result has no JSON form: ${expected}`);
    assert.equal(run.error?.retryable, false);
  }
  const run = await runStep(defineHandler('x', () => ({ at: new Date(0), none: undefined })));
  assert.deepEqual(run.result, { at: '1970-01-01T00:00:00.000Z' });
});

test('a durable call is made once, and its record is returned later', async () => {
  const drawing = defineHandler('x', (ctx) => ctx.once('draw', () => ({ drawn: ctx.attempt })));

  const first = await runStep(drawing);
  const second = await runStep(drawing, { recorded: first.recorded });

  assert.deepEqual(first.recorded, { draw: { drawn: 1 } });
  assert.deepEqual(second.result, { drawn: 1 });
  assert.deepEqual(second.recorded, {});
});

test('waits end the attempt, even if the handler catches what they throw', async () => {
  const patient = defineHandler('x', async (ctx) => {
    try {
      await ctx.sleep(60);
      return await ctx.waitSignal('paid', { timeout: 3600, key: 'o-1' });
    } catch {
      return 'swallowed';
    }
  });

  const first = await runStep(patient);
  const second = await runStep(patient, { recorded: { 'sleep-1': null } });
  const third = await runStep(patient, { recorded: { 'sleep-1': null, 'wait_signal-1': { payload: { cents: 5 } } } });

  assert.deepEqual([first.outcome, first.waitFor], ['parked', { delay_s: 60, call: 'sleep-1' }]);
  assert.deepEqual(second.waitFor, {
    signal: { name: 'paid', key: 'o-1' },
    timeout_s: 3600,
    call: 'wait_signal-1',
  });
  assert.deepEqual(third.result, { cents: 5 });
});

test('a wait that times out fails for good, or goes on', async () => {
  const recorded = { 'wait_signal-1': { timed_out: true } };
  const failing = defineHandler('x', (ctx) => ctx.waitSignal('paid'));
  const going = defineHandler('x', (ctx) => ctx.waitSignal('paid', { onTimeout: 'continue' }));

  assert.equal((await runStep(failing, { recorded })).error?.code, 'wait_timeout');
  assert.equal((await runStep(going, { recorded })).result, null);
});

test('a name belongs to one durable call', async () => {
  const twice = defineHandler('x', async (ctx) => {
    await ctx.once('a', () => 1);
    await ctx.once('a', () => 2);
  });
  const changed = defineHandler('x', (ctx) => ctx.sleep(5, 'a'));

  assert.equal((await runStep(twice)).error?.code, 'durable_call_conflict');
  assert.equal((await runStep(changed, { recorded: { a: 1 } })).error?.code, 'durable_call_conflict');
});

test('child tasks give their results, or leave the step waiting', async () => {
  const parent = defineHandler('x', (ctx) => ctx.runTask('payments.refund', { cents: 5 }));

  assert.deepEqual((await runStep(parent)).waitFor, { task: 'test' });
  assert.deepEqual((await runStep(parent, { tasks: { 'payments.refund': { ok: true } } })).result, { ok: true });
});

test('an attempt that must stop raises the reason at its next call', async () => {
  const abort = new AbortController();
  const looping = defineHandler('x', (ctx) => {
    abort.abort(new Error('cancelled'));
    ctx.heartbeat();
  });

  assert.equal((await runStep(looping, { signal: abort.signal })).error?.message, 'cancelled');
});

test('checkpoints, decisions and created tasks are kept for the test', async () => {
  const run = await runStep(
    defineHandler('x', async (ctx) => {
      await ctx.checkpoint({ page: 2 });
      await ctx.client.create('mail.welcome', { to: 'a' });
      return choose([], 'nothing to do');
    }),
  );

  assert.deepEqual(run.checkpoints, [{ page: 2 }]);
  assert.deepEqual(run.created, [['mail.welcome', { to: 'a' }]]);
  assert.deepEqual(run.result, { chosen: [], reason: 'nothing to do' });
});

test('a worker without namespaces does not start', () => {
  delete process.env['TASKER_NAMESPACE'];
  assert.throws(() => new Worker({ handlers: [Reserve] }), /handler shop.reserve has no namespace/);
  assert.throws(() => new Worker({ handlers: [] }), /needs handlers/);
});

test('handlers of one name need different versions or namespaces', () => {
  const pay = (options: HandlerOptions, name = 'shop.pay') => defineHandler(name, options, () => null);
  const start = (...handlers: Handler[]) => new Worker({ namespaces: ['shop', 'eu'], handlers });

  start(pay({}), pay({ versions: ['2.0.0'] }), pay({ versions: ['^1'] }), pay({ namespaces: ['eu'] }), pay({}, 'pay'));
  const twice: [HandlerOptions, HandlerOptions][] = [
    [{}, { namespaces: ['eu', 'shop'] }],
    [{ versions: ['1.0.0', '^2'] }, { versions: ['^2', '1.0.0'] }],
  ];
  for (const [one, other] of twice) {
    assert.throws(() => start(pay(one), pay(other, 'shop::pay')), /two handlers shop::pay with the same versions/);
  }
});

test('log records and the last progress are kept', async () => {
  const run = await runStep(
    defineHandler('x', (context) => {
      context.logger.warn('slow', { seconds: 3, big: 10n });
      context.progress(Number.NaN);
      context.progress(7, 'done');
    }),
  );

  assert.deepEqual(
    run.logs.map(({ number, level, message, source, fields }) => [number, level, message, source, fields]),
    [
      [0, 'warning', 'slow', '', { seconds: 3, big: '10' }],
      [1, 'info', 'done', 'progress', { fraction: 1 }],
    ],
  );
});
