import { once } from 'node:events';
import { type Api, type Call, LATER, pauseAfter, sleep } from './api.js';
import { Attempt, failure } from './attempt.js';
import { ApiError } from './errors.js';
import { findHandler, type Handler } from './handler.js';
import type { Logger } from './log.js';
import type { Answer, ClaimedStep, Ending, Registered } from './protocol.js';

const LAST = 5; // seconds for the last settlement, and for retiring

type Route = 'register' | 'claim' | 'settle' | 'renew' | 'resume';

/** How an attempt ended, as it is to be reported. */
interface Outcome {
  ticket: string;
  text: string;
}

/** A request that has no answer yet. */
interface UnderWay {
  /** How many slots are reserved for steps that its answer may bring. */
  slots: number;
  abort: AbortController;
}

/**
 * Registers, claims, runs, settles and renews, and registers again when its lease is lost.
 *
 * After each change, `sendWhatIsDue` sends the requests that the state asks for.
 */
export class Session {
  private registered: Registered | null = null;
  /** The attempts whose handlers run, by ticket; those that were stopped take a slot until they return. */
  private readonly attempts = new Map<string, Attempt>();
  /** The outcomes whose settlement is not answered yet. They take slots: the server still counts their claims. */
  private outcomes: Outcome[] = [];
  /** How many of them, the first ones, are sent. */
  private sent = 0;
  private readonly underWay = new Map<Route, UnderWay>();
  /** How often the last requests of a route have failed. */
  private readonly failures = new Map<Route, number>();
  /** Whether lost answers may have brought steps that are to be resumed. */
  private answersLost = false;
  private quiet = false;
  private onIdle = (): void => {};

  /**
   * @param registration - the body of a request to register.
   * @param stopping - aborted when the worker is to stop.
   */
  constructor(
    private readonly api: Api,
    private readonly registration: object,
    private readonly handlers: readonly Handler[],
    private readonly slots: number,
    private readonly stopping: AbortSignal,
    private readonly log: Logger,
  ) {}

  /**
   * Register, and work until the worker is to stop; then settle what runs, and retire.
   *
   * @param grace - seconds that running handlers get to end.
   * @throws ApiError: the server refuses the registration.
   */
  async run(grace: number): Promise<void> {
    const { registration: body, stopping: signal } = this;
    const call = { body, retries: Number.POSITIVE_INFINITY, signal };
    this.accept(await this.api.send<Registered>('POST', '/v1/workers', call));
    this.sendWhatIsDue();
    if (!signal.aborted) await once(signal, 'abort');
    this.giveUpClaim();
    await this.idle(grace);
    for (const attempt of this.running()) {
      attempt.stop('the worker shuts down');
      this.report(attempt.claimed.ticket, { outcome: 'released' });
    }
    await this.idle(Math.max(grace, LAST));
    const { registered } = this;
    this.forgetRegistration();
    if (registered === null) return;
    await this.api
      .send('DELETE', `/v1/workers/${registered.worker}`, { within: LAST, retries: 2 })
      .catch((error) => this.log.warn(`the worker could not retire: ${String(error)}`));
  }

  /** Wait until nothing runs and all is settled, at most for a time in seconds. */
  private async idle(seconds: number): Promise<void> {
    const waiting = new AbortController();
    this.onIdle = () => waiting.abort();
    this.sendWhatIsDue();
    await sleep(seconds * 1_000, waiting.signal);
  }

  // ------------------------------------------------------------------ requests

  private sendWhatIsDue(): void {
    if (this.stopping.aborted && this.held().length === 0) this.onIdle();
    if (this.registered === null) {
      const due = !this.stopping.aborted && !this.underWay.has('register');
      if (due) void this.send('register', 0, { body: this.registration });
      return;
    }
    const { wait_s, renew_s } = this.registered;
    if (!this.underWay.has('renew')) {
      void this.send('renew', 0, { body: { held: this.held(), wait_s: renew_s }, within: renew_s + 10 });
    }
    if (!this.underWay.has('settle') && !this.underWay.has('resume')) this.settleOrResume(this.registered);
    const room = this.room();
    if (room > 0 && !this.underWay.has('claim')) {
      void this.send('claim', room, { body: { max: room, wait_s }, within: wait_s + 10 });
    }
  }

  private settleOrResume(registered: Registered): void {
    const resumes = this.answersLost && !this.stopping.aborted;
    if (this.sent > 0) {
      void this.send('settle', 0, settlement(this.outcomes.slice(0, this.sent), 0));
    } else if (resumes && !this.underWay.has('claim')) {
      void this.send('resume', 0, { body: { held: this.held() } });
    } else if (!resumes && this.outcomes.length > 0) {
      this.sent = countFitting(this.outcomes, registered);
      const room = this.room(this.sent);
      void this.send('settle', Math.max(room - this.sent, 0), settlement(this.outcomes.slice(0, this.sent), room));
    }
  }

  /** Return how many more steps the worker may ask for, with a request that frees some slots. */
  private room(freed = 0): number {
    if (this.stopping.aborted || this.quiet || this.answersLost) return 0;
    const reserved = [...this.underWay.values()].reduce((sum, { slots }) => sum + slots, 0);
    return Math.max(this.slots + freed - this.attempts.size - this.outcomes.length - reserved, 0);
  }

  private running(): Attempt[] {
    return [...this.attempts.values()].filter(({ signal }) => !signal.aborted);
  }

  /** Return the tickets of the attempts that run or whose outcomes are not settled. */
  private held(): string[] {
    return [...this.running().map(({ claimed }) => claimed), ...this.outcomes].map(({ ticket }) => ticket);
  }

  /** Send a request, and heed its answer; a failed one counts as under way until it may be repeated. */
  private async send(route: Route, slots: number, call: Call): Promise<void> {
    const abort = new AbortController();
    const { signal } = abort;
    this.underWay.set(route, { slots, abort });
    const path = route === 'register' ? '/v1/workers' : `/v1/workers/${this.registered?.worker}/${route}`;
    try {
      const answer = await this.api.send<Answer>('POST', path, { ...call, retries: 0, signal });
      if (signal.aborted) return;
      this.underWay.delete(route);
      this.failures.delete(route);
      this.heed(route, answer);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && error.isLeaseLost) return this.loseLease();
      const failures = this.failures.get(route) ?? 0;
      this.failures.set(route, failures + 1);
      const pause = pauseAfter(error, failures);
      if (pause === null) this.log.error(`the server refused to ${route}: ${String(error)}`);
      await sleep(pause ?? LATER, signal);
      if (signal.aborted) return;
      this.underWay.delete(route);
      this.handleFailure(route, error);
    }
    this.sendWhatIsDue();
  }

  private accept(registered: Registered): void {
    const { unserved = [], refused = [] } = registered;
    if (unserved.length > 0) this.log.warn(`no template asks for these handlers yet: ${unserved.join(', ')}`);
    if (refused.length > 0) this.log.error(`the API key may not serve these handlers: ${refused.join(', ')}`);
    this.registered = registered;
  }

  private heed(route: Route, answer: Answer): void {
    if (route === 'register') return this.accept(answer as Registered);
    const { steps = [], cancelled = [], quiet = false, problems = {} } = answer;
    if (route === 'settle') {
      this.outcomes.splice(0, this.sent);
      this.sent = 0;
    }
    if (route === 'resume') this.answersLost = false;
    for (const { code, detail } of Object.values(problems)) {
      this.log.error(`the server replaced an outcome: ${code}: ${detail}`);
    }
    this.quiet = quiet;
    for (const ticket of cancelled) this.attempts.get(ticket)?.stop('its task was cancelled');
    const held = new Set(this.held());
    for (const step of steps) if (!held.has(step.ticket)) void this.start(step);
  }

  private handleFailure(route: Route, error: unknown): void {
    const status = error instanceof ApiError ? error.status : 0;
    if ((route === 'claim' || route === 'settle') && [0, 502, 503, 504].includes(status)) {
      this.answersLost = true; // the server may have done what was asked
      this.giveUpClaim();
    }
    if (route === 'settle' && [400, 413, 415, 422].includes(status)) this.splitRejected(error as ApiError);
  }

  private giveUpClaim(): void {
    this.underWay.get('claim')?.abort.abort();
    if (this.underWay.delete('claim')) this.answersLost = true;
  }

  /** Settle half of the rejected outcomes; the step of a single one fails with the server's reason instead. */
  private splitRejected({ message: reason }: ApiError): void {
    this.sent = Math.floor(this.sent / 2);
    if (this.sent > 0) return;
    for (const { ticket, text } of this.outcomes.splice(0, 1)) {
      const message = `the server rejected the outcome: ${reason}`;
      const failed = outcomeOf(ticket, failure('Rejected', 'outcome_rejected', message));
      if (failed.text !== text) this.outcomes.unshift(failed); // a rejected failure is not repeated
    }
  }

  // ------------------------------------------------------------------ attempts

  private async start(claimed: ClaimedStep): Promise<void> {
    const { ticket } = claimed;
    if (this.registered === null) return;
    const attempt = new Attempt(claimed, this.api, this.registered, this.log, (ending) => {
      this.report(ticket, ending);
      this.sendWhatIsDue();
    });
    this.attempts.set(ticket, attempt);
    const ending = await attempt.run(findHandler(this.handlers, claimed));
    this.attempts.delete(ticket);
    if (!attempt.signal.aborted) this.report(ticket, ending);
    this.sendWhatIsDue();
  }

  private report(ticket: string, ending: Ending): void {
    if (this.registered === null) return;
    const outcome = outcomeOf(ticket, ending);
    const fits = Buffer.byteLength(outcome.text) <= this.registered.body_bytes - 1_000;
    this.outcomes.push(fits ? outcome : outcomeOf(ticket, failure('TooLarge', 'too_large', 'the result is too large')));
  }

  // ------------------------------------------------------------------ lost leases

  /** Stop what runs, and send once more what has ended: nobody may have taken it over. */
  private loseLease(): void {
    if (this.registered === null) return;
    const { worker } = this.registered;
    const last = this.outcomes;
    this.log.warn(`the lease of worker ${worker} is lost`);
    this.forgetRegistration();
    if (last.length > 0) {
      this.api
        .send('POST', `/v1/workers/${worker}/settle`, settlement(last, 0))
        .catch((error) => this.log.warn(`outcomes of the lost lease were refused: ${String(error)}`));
    }
    this.sendWhatIsDue();
  }

  private forgetRegistration(): void {
    for (const attempt of this.attempts.values()) attempt.stop('the worker lost its lease');
    for (const { abort } of this.underWay.values()) abort.abort();
    this.underWay.clear();
    this.failures.clear();
    this.registered = null;
    this.answersLost = false;
    this.outcomes = [];
    this.sent = 0;
  }
}

function outcomeOf(ticket: string, ending: Ending): Outcome {
  return { ticket, text: JSON.stringify({ ticket, ...ending }) };
}

function settlement(outcomes: Outcome[], max: number): Call {
  return { text: `{"outcomes":[${outcomes.map(({ text }) => text).join(',')}],"max":${max}}` };
}

/** Return how many outcomes one settlement may have. */
function countFitting(outcomes: Outcome[], { max_outcomes, body_bytes }: Registered): number {
  let bytes = 100;
  const end = outcomes.findIndex(({ text }, index) => {
    bytes += Buffer.byteLength(text) + 1;
    return index > 0 && (index >= max_outcomes || bytes > body_bytes);
  });
  return end < 0 ? outcomes.length : end;
}
