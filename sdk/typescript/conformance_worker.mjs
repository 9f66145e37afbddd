// The worker that the conformance kit starts: see ../conformance/README.md.
import { setTimeout as delay } from 'node:timers/promises';
import { choose, defineHandler, PermanentError, RetryableError, Worker } from 'tasker';

let runningAttempts = 0;

const handlers = {
  echo: (ctx) => ctx.input,
  describe: (ctx) => ({
    step: ctx.step,
    task_id: ctx.taskId,
    namespace: ctx.namespace,
    template: ctx.template,
    version: ctx.version,
    attempt: ctx.attempt,
    counted_attempts: ctx.countedAttempts,
    max_attempts: ctx.maxAttempts,
    idempotency_key: ctx.idempotencyKey,
    correlation_id: ctx.correlationId,
    parent_id: ctx.parentId,
    context: ctx.input,
    config: ctx.config,
    results: ctx.results,
    checkpoint: ctx.lastCheckpoint,
  }),
  add: (ctx) => ({ sum: ctx.getInput('a') + ctx.getInput('b') }),
  fail_permanent: () => {
    throw new PermanentError('the card is stolen', { code: 'STOLEN', details: { card: 'c-1' } });
  },
  fail_retryable: () => {
    throw new RetryableError('try later', { code: 'LATER', retryAfter: 7 });
  },
  raise: () => {
    throw new RangeError('boom');
  },
  sleep: async (ctx) => {
    await delay(ctx.getInput('ms'), undefined, { signal: ctx.signal });
    return { slept: ctx.getInput('ms') };
  },
  hangs: async (ctx) => {
    await delay(ctx.getInput('ms'));
    return { hung: ctx.getInput('ms') };
  },
  checkpointing: async (ctx) => {
    if (ctx.lastCheckpoint !== null) return { from: ctx.lastCheckpoint };
    await ctx.checkpoint({ done: 1 });
    throw new RetryableError('again');
  },
  checkpoint_twice: async (ctx) => {
    await ctx.checkpoint(1);
    await delay(300);
    await ctx.checkpoint(2);
    return { stored: 2 };
  },
  hands_back: (ctx) => (ctx.lastCheckpoint === null ? ctx.handBack({ row: 5 }) : { from: ctx.lastCheckpoint }),
  parent: async (ctx) => {
    try {
      return { child: await ctx.runTask('conformance.child', { n: 1 }) };
    } catch (error) {
      throw new PermanentError(`the child has failed: ${error.message}`, { code: error.code });
    }
  },
  creates: async (ctx) => ({ id: (await ctx.client.create('child', { n: 2 }, { namespace: 'conformance' })).id }),
  reads_ancestor: (ctx) => ({ got: ctx.getDependencyResult(ctx.getInput('step')) }),
  big: (ctx) => ({ text: 'x'.repeat(ctx.getInput('n')) }),
  no_json: () => ({ list: [1, 10n] }),
  once: async (ctx) => {
    const value = await ctx.once('draw', () => ({ drawn: ctx.attempt }));
    if (ctx.attempt === 1) throw new RetryableError('again');
    return value;
  },
  sleeps: async (ctx) => {
    await ctx.sleep(60);
    await ctx.sleep(120);
    return { attempt: ctx.attempt };
  },
  waits: async (ctx) => ({ paid: await ctx.waitSignal('paid', { timeout: 3600 }) }),
  waits_on: async (ctx) => ({ paid: await ctx.waitSignal('paid', { timeout: 1, onTimeout: 'continue' }) }),
  decide: () => choose(['left', 'right']),
  decide_none: () => choose([], 'nothing to do'),
  logs: async (ctx) => {
    ctx.logger.info('begun', { page: 12 });
    ctx.logger.warn('slow');
    ctx.progress(0.25);
    ctx.progress(0.4, 'page 12');
    await delay(ctx.getInput('ms'), undefined, { signal: ctx.signal });
    return { logged: 2 };
  },
  logs_many: (ctx) => {
    for (let number = 0; number < ctx.getInput('n'); number++) ctx.logger.info(`record ${number}`);
    return { logged: ctx.getInput('n') };
  },
  cursor: (ctx) => ({ rows: ctx.cursor.end - ctx.cursor.start }),
  spawns: async (ctx) => {
    await ctx.spawn('step', ctx.getInput('links')[ctx.item] ?? []);
    return ctx.item;
  },
  running: async (ctx) => {
    const counted = ++runningAttempts;
    await delay(ctx.getInput('ms'));
    runningAttempts -= 1;
    return { running: counted };
  },
};

const which = [
  defineHandler('which', { versions: ['1.0.0'] }, () => ({ code: 'first' })),
  defineHandler('which', { versions: ['2.0.0'] }, () => ({ code: 'second' })),
  defineHandler('which', { namespaces: ['elsewhere'] }, () => ({ code: 'elsewhere' })),
];

try {
  await new Worker({
    handlers: [...Object.entries(handlers).map(([name, call]) => defineHandler(name, call)), ...which],
    slots: Number(process.env.SLOTS ?? 4),
    grace: Number(process.env.GRACE ?? 5),
  }).run();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
