import { type Api, pauseAfter, sleep } from './api.js';
import { runHandler } from './attempt.js';
import { Client } from './client.js';
import { type AttemptServices, cancelled, StepContext } from './context.js';
import { ApiError, AttemptCancelled, errorBody, PermanentError } from './errors.js';
import type { Handler } from './handler.js';
import { StepLog } from './log.js';
import type { Claimed, ClaimedStep, Ending, Payload, Registered, Renewed, Settled } from './protocol.js';
import type { Slots } from './slots.js';

const LONGEST_TIMER = 2 ** 31 - 1;
const MOST_REVOKED = 1_000;
const SEND_LOGS_EVERY = 500; // milliseconds
const LATER = 5_000; // milliseconds, after a refusal that an operator has to mend

/** Where a worker writes; `console` is one. */
export interface Logger {
  warn(message: string): void;
  error(message: string): void;
}

/** An attempt whose handler runs. */
interface Attempt {
  readonly claimed: ClaimedStep;
  readonly abort: AbortController;
  readonly log: StepLog;
  /** Whether its outcome is decided: what the handler does from now on counts for nothing. */
  over: boolean;
  stopTimers: () => void;
}

/** An outcome that is to be reported. */
interface Ended {
  ticket: string;
  text: string;
  /** Whether it still has the slot of its attempt. */
  slot: boolean;
}

/**
 * One registration of a worker: it claims, runs, settles and renews until it is drained or its lease
 * is lost.
 */
export class Session {
  private readonly attempts = new Map<string, Attempt>();
  private ended: Ended[] = [];
  private unanswered: Ended[] = [];
  /** Tickets that were cancelled before the answer that brings them has arrived. */
  private readonly revoked = new Set<string>();
  private readonly over = new AbortController();
  private readonly underWay = new Set<Promise<unknown>>();
  private claiming = new AbortController();
  private settling: Promise<void> | undefined;
  private resuming: Promise<void> | undefined;
  private lostAnswer = false;
  private lostSlots = 0;
  private draining = false;
  private quiet = false;
  private onIdle: (() => void) | undefined;

  constructor(
    private readonly api: Api,
    private readonly registered: Registered,
    private readonly handlers: readonly Handler[],
    private readonly slots: Slots,
    private readonly log: Logger,
  ) {}

  /** Claim and run steps until `drain` is called or the lease is lost; return whether it was lost. */
  async run(): Promise<boolean> {
    const logs = setInterval(() => {
      for (const attempt of this.attempts.values()) void this.sendLog(attempt);
    }, SEND_LOGS_EVERY);
    await Promise.all([this.claimSteps(), this.renewLease()]);
    clearInterval(logs);
    return this.over.signal.reason === 'lost';
  }

  /** Claim no more, wait for running handlers at most `grace` seconds, settle and retire. */
  async drain(grace: number): Promise<void> {
    this.draining = true;
    this.claiming.abort();
    this.slots.notify();
    await within(grace, this.idle());
    for (const attempt of [...this.attempts.values()]) {
      this.end(attempt, { outcome: 'released' }, 'the worker shuts down');
    }
    await within(Math.max(grace, 5), this.settling);
    if (this.over.signal.aborted) return;
    this.over.abort('drained');
    await this.api.send('DELETE', this.path(''), { within: 5, retries: 2 }).catch((error: unknown) => {
      this.log.warn(`the worker could not retire: ${String(error)}`);
    });
  }

  // ------------------------------------------------------------------ loops

  private async claimSteps(): Promise<void> {
    for (let failures = 0; this.isOpen(); ) {
      if (this.lostAnswer) await this.resume();
      await this.slots.available();
      await this.resuming;
      if (!this.isOpen()) return;
      if (this.quiet) {
        await sleep(100, this.over.signal);
        continue;
      }
      const reserved = this.slots.reserveFree();
      if (reserved === 0) continue;
      this.claiming = new AbortController();
      try {
        const wait = this.registered.wait_s;
        const { signal } = this.claiming;
        const claimed = await this.track(
          this.post<Claimed>('claim', { max: reserved, wait_s: wait }, { within: wait + 10, signal }),
        );
        failures = 0;
        this.accept(claimed, reserved);
      } catch (error) {
        const answered = error instanceof ApiError && ![502, 503, 504].includes(error.status);
        if (answered) this.slots.release(reserved);
        else this.lose(reserved);
        if (this.isOpen() && !this.claiming.signal.aborted) await this.pause(error, failures++);
      }
    }
  }

  private async renewLease(): Promise<void> {
    const wait = this.registered.renew_s;
    for (let failures = 0; !this.over.signal.aborted; ) {
      try {
        const renewed = await this.post<Renewed>('renew', { held: this.held(), wait_s: wait }, {
          within: wait + 10,
          signal: this.over.signal,
        });
        failures = 0;
        this.accept({ steps: [], ...renewed }, 0);
      } catch (error) {
        await this.pause(error, failures++);
      }
    }
  }

  private async settleAll(): Promise<void> {
    while (this.ended.length > 0 && !this.over.signal.aborted) {
      await this.resuming;
      this.unanswered = this.takeBatch();
      const batch = this.unanswered;
      let reserved = batch.filter((each) => each.slot).length;
      for (const each of batch) each.slot = false;
      if (!this.isOpen() || this.quiet) {
        this.slots.release(reserved);
        reserved = 0;
      }
      const settled = await this.track(this.settle(batch, reserved));
      this.unanswered = [];
      if (!this.over.signal.aborted) this.slots.release(batch.filter((each) => each.slot).length);
      if (settled === null) continue;
      if (this.lostAnswer) this.lose(reserved - settled.steps.length);
      this.accept(settled, this.lostAnswer ? settled.steps.length : reserved);
      if (this.lostAnswer && !this.over.signal.aborted) await this.resume();
    }
    this.checkIdle();
  }

  /** Send a settlement until it is answered; null: it never will be. */
  private async settle(batch: Ended[], reserved: number): Promise<Settled | null> {
    for (let failures = 0, max = reserved; ; max = 0) {
      try {
        const text = `{"outcomes":[${batch.map((each) => each.text).join(',')}],"max":${max}}`;
        const settled = await this.post<Settled>('settle', undefined, { text });
        for (const problem of Object.values(settled.problems ?? {})) {
          this.log.error(`the server replaced an outcome: ${problem.code}: ${problem.detail}`);
        }
        return settled;
      } catch (error) {
        if (this.over.signal.aborted) {
          this.slots.release(reserved);
          return null;
        }
        if (error instanceof ApiError && [400, 413, 415, 422].includes(error.status)) {
          this.slots.release(reserved);
          if (batch.length > 1) return this.settleOneByOne(batch);
          this.log.error(`the server refused an outcome: ${error.message}`);
          return null;
        }
        this.lostAnswer = true;
        this.claiming.abort();
        await this.pause(error, failures++);
      }
    }
  }

  private async settleOneByOne(batch: Ended[]): Promise<null> {
    for (const each of batch) await this.settle([each], 0);
    return null;
  }

  private takeBatch(): Ended[] {
    const { max_outcomes, body_bytes } = this.registered;
    let bytes = 100;
    const fits = this.ended.findIndex((each, index) => {
      bytes += Buffer.byteLength(each.text) + 1;
      return index > 0 && (index >= max_outcomes || bytes > body_bytes);
    });
    return this.ended.splice(0, fits < 0 ? this.ended.length : fits);
  }

  // ------------------------------------------------------------------ lost answers

  private lose(slots: number): void {
    if (this.over.signal.aborted) return this.slots.release(slots);
    this.lostAnswer = true;
    this.lostSlots += slots;
  }

  /** Get the steps of lost answers, with no claim and no settlement under way. */
  private resume(): Promise<void> {
    this.resuming ??= this.fetchLost().finally(() => {
      this.resuming = undefined;
    });
    return this.resuming;
  }

  private async fetchLost(): Promise<void> {
    this.claiming.abort();
    while (this.underWay.size > 0) await Promise.allSettled(this.underWay);
    for (let failures = 0; !this.over.signal.aborted; ) {
      try {
        const resumed = await this.post<Claimed>('resume', { held: this.held() }, { signal: this.over.signal });
        const slots = this.lostSlots;
        this.lostSlots = 0;
        this.lostAnswer = false;
        return this.accept(resumed, slots);
      } catch (error) {
        await this.pause(error, failures++);
      }
    }
  }

  private endLost(): void {
    if (this.over.signal.aborted) return;
    this.log.warn(`the lease of worker ${this.registered.worker} is lost: registering again`);
    this.over.abort('lost');
    this.claiming.abort();
    this.slots.notify();
    for (const attempt of this.attempts.values()) this.stop(attempt, 'the worker lost its lease');
    const last = [...this.unanswered, ...this.ended];
    this.slots.release(last.filter((each) => each.slot).length + this.lostSlots);
    this.lostSlots = 0;
    this.ended = [];
    if (last.length > 0) {
      const text = `{"outcomes":[${last.map((each) => each.text).join(',')}],"max":0}`;
      this.api.send('POST', this.path('/settle'), { text }).catch((error: unknown) => {
        this.log.warn(`outcomes of the lost lease were refused: ${String(error)}`);
      });
    }
    this.checkIdle();
  }

  // ------------------------------------------------------------------ attempts

  private accept(claimed: Claimed, reserved: number): void {
    this.quiet = claimed.quiet ?? false;
    for (const ticket of claimed.cancelled ?? []) {
      const attempt = this.attempts.get(ticket);
      if (attempt !== undefined) this.stop(attempt, 'its task was cancelled');
      else this.revoked.add(ticket);
    }
    const held = new Set(this.held());
    const isNew = ({ ticket }: ClaimedStep) => !held.has(ticket) && !this.revoked.has(ticket);
    const steps = this.over.signal.aborted ? [] : claimed.steps.filter(isNew);
    if (this.revoked.size > MOST_REVOKED) this.revoked.clear();
    if (steps.length < reserved) this.slots.release(reserved - steps.length);
    else this.slots.exceed(steps.length - reserved);
    for (const step of steps) void this.runStep(step);
  }

  private async runStep(claimed: ClaimedStep): Promise<void> {
    const attempt: Attempt = {
      claimed,
      abort: new AbortController(),
      log: new StepLog(),
      over: false,
      stopTimers: () => {},
    };
    this.attempts.set(claimed.ticket, attempt);
    const beat = this.watch(attempt);
    const ending = await this.endingOf(attempt, beat).catch(
      (error: unknown): Ending => ({ outcome: 'failed', error: errorBody(error) }),
    );
    await this.sendLog(attempt); // before the outcome: after it, the attempt is over
    if (attempt.over) this.endLate(claimed.ticket);
    else this.end(attempt, ending);
  }

  /** Free the slot of a handler whose attempt is over: if it is not settled yet, when it is. */
  private endLate(ticket: string): void {
    const unsettled = [...this.ended, ...this.unanswered].find((each) => each.ticket === ticket);
    if (unsettled !== undefined && !this.over.signal.aborted) unsettled.slot = true;
    else this.slots.release(1);
    this.checkIdle();
  }

  private async endingOf(attempt: Attempt, beat: () => void): Promise<Ending> {
    let { claimed } = attempt;
    const handler = findHandler(this.handlers, claimed);
    if (handler === undefined) {
      throw new PermanentError(`this worker has no handler ${claimed.handler}`, { code: 'handler_not_found' });
    }
    if (claimed.payload) claimed = { ...claimed, ...(await this.ask<Payload>(attempt, 'payload')) };
    const context = new StepContext(claimed, attempt.abort.signal, this.servicesOf(attempt, beat));
    return runHandler(handler, context);
  }

  /** Keep the time limits of an attempt; return what restarts that of heartbeats. */
  private watch(attempt: Attempt): () => void {
    const { timeout_s, heartbeat_timeout_s } = attempt.claimed;
    const limit = (code: string, seconds: number, message: string) =>
      setTimeout(() => {
        const error = { type: 'Timeout', code, message, retryable: true };
        this.end(attempt, { outcome: 'failed', error }, message);
      }, Math.min(seconds * 1_000, LONGEST_TIMER));
    const whole = timeout_s ? limit('timeout', timeout_s, `the attempt took longer than ${timeout_s} s`) : undefined;
    let heartbeat: NodeJS.Timeout | undefined;
    const beat = () => {
      if (!heartbeat_timeout_s || attempt.over) return;
      clearTimeout(heartbeat);
      const message = `no heartbeat within ${heartbeat_timeout_s} s`;
      heartbeat = limit('heartbeat_timeout', heartbeat_timeout_s, message);
    };
    attempt.stopTimers = () => {
      clearTimeout(whole);
      clearTimeout(heartbeat);
    };
    beat();
    return beat;
  }

  /** Decide an attempt's outcome; with a reason to stop its handler, that one keeps the slot. */
  private end(attempt: Attempt, ending: Ending, stopped?: string): void {
    if (attempt.over) return;
    const { ticket } = attempt.claimed;
    let text = JSON.stringify({ ticket, ...ending });
    if (Buffer.byteLength(text) > this.registered.body_bytes - 1_000) {
      const error = { type: 'TooLarge', code: 'too_large', message: 'the result is too large', retryable: false };
      text = JSON.stringify({ ticket, outcome: 'failed', error });
    }
    this.ended.push({ ticket, text, slot: stopped === undefined });
    this.stop(attempt, stopped);
    this.settling ??= this.settleAll().finally(() => {
      this.settling = undefined;
    });
  }

  /** Forget an attempt, and abort its handler if there is a reason. */
  private stop(attempt: Attempt, reason?: string): void {
    attempt.over = true;
    attempt.stopTimers();
    this.attempts.delete(attempt.claimed.ticket);
    if (reason !== undefined) attempt.abort.abort(cancelled(reason));
  }

  private servicesOf(attempt: Attempt, beat: () => void): AttemptServices {
    const { ticket, idempotency_key } = attempt.claimed;
    return {
      client: new Client({}, { api: this.api, ticket, idempotencyKey: idempotency_key }),
      beat,
      checkpoint: async (value) => {
        await this.ask(attempt, 'checkpoint', { value });
        beat();
      },
      calls: async () => (await this.ask<{ calls: [] }>(attempt, 'calls')).calls,
      record: (call, value) => this.ask(attempt, 'once', { call, value }),
      runTask: (call, template, context, options) =>
        this.ask(attempt, 'run_task', { call, template, context, ...options }),
      spawn: (call, step, items) => this.ask(attempt, 'spawn', { call, step, items }),
      log: attempt.log,
    };
  }

  /** Send the log records that were not sent yet, with one try: what fails is sent by the next call. */
  private async sendLog(attempt: Attempt): Promise<void> {
    if (attempt.over || !this.registered.features?.includes('logs')) return;
    const { ticket } = attempt.claimed;
    await attempt.log.flush(async (lines) => {
      try {
        await this.api.send('POST', this.path('/logs'), { body: { ticket, lines }, within: 5, retries: 0 });
      } catch (error) {
        if (pauseAfter(error, 0) !== null) return false;
        if (error instanceof ApiError && error.code === 'attempt_cancelled') this.stop(attempt, error.message);
        this.log.warn(`log records were refused: ${String(error)}`);
      }
      return true;
    });
  }

  /** Send a request of a running attempt. */
  private async ask<T>(attempt: Attempt, route: string, body: object = {}): Promise<T> {
    const { signal } = attempt.abort;
    const { ticket } = attempt.claimed;
    signal.throwIfAborted();
    try {
      const call = { body: { ticket, ...body }, retries: Number.POSITIVE_INFINITY, signal };
      return await this.api.send<T>('POST', this.path(`/${route}`), call);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (isLeaseLost(error)) this.endLost();
      else if (error.code === 'attempt_cancelled') this.stop(attempt, error.message);
      else throw new PermanentError(error.message, { code: error.code, cause: error });
      throw signal.aborted ? signal.reason : new AttemptCancelled(error.message);
    }
  }

  // ------------------------------------------------------------------ requests

  /** Note a request that may bring steps: `resume` waits for its end. */
  private async track<T>(request: Promise<T>): Promise<T> {
    this.underWay.add(request);
    try {
      return await request;
    } finally {
      this.underWay.delete(request);
    }
  }

  private async post<T>(route: string, body: unknown, call: object): Promise<T> {
    try {
      return await this.api.send<T>('POST', this.path(`/${route}`), { body, retries: 0, ...call });
    } catch (error) {
      if (error instanceof ApiError && isLeaseLost(error)) this.endLost();
      throw error;
    }
  }

  private async pause(error: unknown, failures: number): Promise<void> {
    if (this.over.signal.aborted) return;
    const underWay = error instanceof ApiError && error.code === 'claim_under_way';
    const pause = underWay ? 100 : pauseAfter(error, failures);
    if (pause === null) this.log.error(`the server refused a request of the worker: ${String(error)}`);
    await sleep(pause ?? LATER, this.over.signal);
  }

  private path(rest: string): string {
    return `/v1/workers/${this.registered.worker}${rest}`;
  }

  private held(): string[] {
    const reported = [...this.unanswered, ...this.ended].map((each) => each.ticket);
    return [...this.attempts.keys(), ...reported];
  }

  private isOpen(): boolean {
    return !this.draining && !this.over.signal.aborted;
  }

  private idle(): Promise<void> {
    return new Promise((resolve) => {
      this.onIdle = resolve;
      this.checkIdle();
    });
  }

  private checkIdle(): void {
    if (this.attempts.size === 0 && this.ended.length === 0 && this.unanswered.length === 0) this.onIdle?.();
  }
}

function isLeaseLost(error: ApiError): boolean {
  return error.code === 'lease_lost' || error.code === 'unknown_worker';
}

function findHandler(handlers: readonly Handler[], { handler, namespace }: ClaimedStep): Handler | undefined {
  const name = handler.replaceAll('::', '.');
  const prefix = `${namespace}.`;
  const names = [name, prefix + name, ...(name.startsWith(prefix) ? [name.slice(prefix.length)] : [])];
  const served = handlers.filter(
    ({ namespaces }) => namespaces === undefined || namespaces.includes(namespace) || namespaces.includes('*'),
  );
  for (const each of names) {
    const match = served.find(({ handlerName }) => handlerName.replaceAll('::', '.') === each);
    if (match !== undefined) return match;
  }
  return undefined;
}

/** Wait for a promise, at most for a time in seconds. */
async function within(seconds: number, promise: Promise<void> | undefined): Promise<void> {
  const limit = new AbortController();
  await Promise.race([promise, sleep(seconds * 1_000, limit.signal)]);
  limit.abort();
}
