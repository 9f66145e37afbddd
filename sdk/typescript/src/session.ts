import { type Api, type Call, isLost, LATER, pauseAfter, sleep } from './api.js';
import { Attempt } from './attempt.js';
import { ApiError } from './errors.js';
import { findHandler, type Handler } from './handler.js';
import type { Logger } from './log.js';
import type { Answer, ClaimedStep, Ending, Registered } from './protocol.js';

const LAST = 5; // seconds for the last settlement, and for retiring

type Route = 'claim' | 'settle' | 'renew' | 'resume';

/** An outcome that is to be reported. */
interface Ended {
  ticket: string;
  text: string;
}

/** A request that has no answer yet. */
interface UnderWay {
  /** How many steps its answer may bring. */
  slots: number;
  abort: AbortController;
}

/**
 * Claims, runs, settles and renews, with a registration and with new ones when its lease is lost.
 *
 * After each change, `sendWhatIsDue` sends the requests that the state asks for.
 */
export class Session {
  private readonly running = new Map<string, Attempt>();
  /** The number of handlers that run, with those whose attempts are over. */
  private occupied = 0;
  private ended: Ended[] = [];
  /** The outcomes of the settlement under way. */
  private unanswered: Ended[] = [];
  private readonly underWay = new Map<Route, UnderWay>();
  /** How often the last requests of a route have failed. */
  private readonly failures = new Map<Route, number>();
  /** The number of steps that lost answers may have brought, until they are resumed. */
  private lostAnswers: number | undefined;
  private draining = false;
  private quiet = false;
  private onIdle = (): void => {};

  /**
   * @param registered - null: the lease is lost, and there is no new registration yet.
   * @param register - registers again; returns null if the worker is stopped.
   */
  constructor(
    private readonly api: Api,
    private registered: Registered | null,
    private readonly register: () => Promise<Registered | null>,
    private readonly handlers: readonly Handler[],
    private readonly slots: number,
    private readonly log: Logger,
  ) {
    this.sendWhatIsDue();
  }

  /** Claim no more, wait for running handlers at most `grace` seconds, settle and retire. */
  async drain(grace: number): Promise<void> {
    this.draining = true;
    this.giveUpClaim();
    await this.idle(grace);
    for (const ticket of this.running.keys()) this.end(ticket, { outcome: 'released' }, 'the worker shuts down');
    await this.idle(Math.max(grace, LAST));
    if (this.registered === null) return;
    const path = `/v1/workers/${this.registered.worker}`;
    this.forgetRegistration();
    await this.api.send('DELETE', path, { within: LAST, retries: 2 }).catch((error: unknown) => {
      this.log.warn(`the worker could not retire: ${String(error)}`);
    });
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
    if (this.held().length === 0) this.onIdle();
    if (this.registered === null) return;
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
    const resumes = this.lostAnswers !== undefined && !this.draining;
    if (this.unanswered.length > 0) {
      void this.send('settle', 0, settlement(this.unanswered, 0));
    } else if (resumes && !this.underWay.has('claim')) {
      void this.send('resume', 0, { body: { held: this.held() } });
    } else if (!resumes && this.ended.length > 0) {
      this.unanswered = takeBatch(this.ended, registered);
      const room = this.room();
      void this.send('settle', room, settlement(this.unanswered, room));
    }
  }

  /** Return how many more steps the worker may ask for. */
  private room(): number {
    if (this.draining || this.quiet || this.lostAnswers !== undefined) return 0;
    let used = this.occupied + this.ended.length;
    for (const [route, { slots }] of this.underWay) {
      used += route === 'settle' ? Math.max(slots, this.unanswered.length) : slots; // the server still counts them
    }
    return Math.max(this.slots - used, 0);
  }

  private held(): string[] {
    const outcomes = [...this.unanswered, ...this.ended].map(({ ticket }) => ticket);
    return [...this.running.keys(), ...outcomes];
  }

  /** Send a request, and heed its answer; a failed one counts as under way until it may be repeated. */
  private async send(route: Route, slots: number, call: Call): Promise<void> {
    const abort = new AbortController();
    const { signal } = abort;
    this.underWay.set(route, { slots, abort });
    const path = `/v1/workers/${this.registered?.worker}/${route}`;
    try {
      const answer = await this.api.send<Answer>('POST', path, { ...call, retries: 0, signal });
      if (signal.aborted) return;
      this.underWay.delete(route);
      this.failures.delete(route);
      this.heed(route, answer);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && error.isLeaseLost) return this.registerAgain();
      const failures = this.failures.get(route) ?? 0;
      this.failures.set(route, failures + 1);
      const pause = pauseAfter(error, failures);
      if (pause === null) this.log.error(`the server refused to ${route}: ${String(error)}`);
      await sleep(pause ?? LATER, signal);
      if (signal.aborted) return;
      this.underWay.delete(route);
      this.handleFailure(route, slots, error);
    }
    this.sendWhatIsDue();
  }

  private heed(route: Route, { steps = [], cancelled = [], quiet = false, problems = {} }: Answer): void {
    if (route === 'settle') this.unanswered = [];
    if (route === 'resume') this.lostAnswers = undefined;
    for (const { code, detail } of Object.values(problems)) {
      this.log.error(`the server replaced an outcome: ${code}: ${detail}`);
    }
    this.quiet = quiet;
    for (const ticket of cancelled) this.end(ticket, null, 'its task was cancelled');
    const held = new Set(this.held());
    for (const step of steps) if (!held.has(step.ticket)) void this.start(step);
  }

  private handleFailure(route: Route, slots: number, error: unknown): void {
    if (isLost(error) && (route === 'claim' || route === 'settle')) {
      this.lostAnswers = (this.lostAnswers ?? 0) + slots;
      this.giveUpClaim();
    }
    if (route === 'settle' && error instanceof ApiError && [400, 413, 415, 422].includes(error.status)) {
      const rest = this.unanswered.splice(Math.floor(this.unanswered.length / 2));
      this.ended.unshift(...(this.unanswered.length > 0 ? rest : failuresOfRejected(rest, error)));
    }
  }

  private giveUpClaim(): void {
    const claim = this.underWay.get('claim');
    if (claim === undefined) return;
    claim.abort.abort();
    this.underWay.delete('claim');
    this.lostAnswers = (this.lostAnswers ?? 0) + claim.slots;
  }

  // ------------------------------------------------------------------ attempts

  private async start(claimed: ClaimedStep): Promise<void> {
    const { ticket } = claimed;
    if (this.registered === null) return;
    const attempt = new Attempt(claimed, this.api, this.registered, this.log, (ending) => {
      this.end(ticket, ending);
      this.sendWhatIsDue();
    });
    this.running.set(ticket, attempt);
    this.occupied += 1;
    const ending = await attempt.run(findHandler(this.handlers, claimed));
    this.occupied -= 1;
    this.end(ticket, ending);
    this.sendWhatIsDue();
  }

  /** End an attempt with an outcome to report, or null; `stopped`: why its handler must stop. */
  private end(ticket: string, ending: Ending | null, stopped?: string): void {
    const attempt = this.running.get(ticket);
    if (attempt === undefined) return;
    this.running.delete(ticket);
    if (stopped !== undefined) attempt.stop(stopped);
    if (ending === null) return;
    let text = JSON.stringify({ ticket, ...ending });
    if (this.registered && Buffer.byteLength(text) > this.registered.body_bytes - 1_000) {
      const error = { type: 'TooLarge', code: 'too_large', message: 'the result is too large', retryable: false };
      text = JSON.stringify({ ticket, outcome: 'failed', error });
    }
    this.ended.push({ ticket, text });
  }

  // ------------------------------------------------------------------ lost leases

  /** Stop what runs, register again, and send once more what has ended: nobody may have taken it over. */
  private async registerAgain(): Promise<void> {
    if (this.registered === null) return;
    const { worker } = this.registered;
    const last = [...this.unanswered, ...this.ended];
    this.log.warn(`the lease of worker ${worker} is lost`);
    this.forgetRegistration();
    if (last.length > 0) {
      this.api.send('POST', `/v1/workers/${worker}/settle`, settlement(last, 0)).catch((error: unknown) => {
        this.log.warn(`outcomes of the lost lease were refused: ${String(error)}`);
      });
    }
    this.registered = await this.register();
    this.sendWhatIsDue();
  }

  private forgetRegistration(): void {
    this.registered = null;
    this.lostAnswers = undefined;
    this.ended = [];
    this.unanswered = [];
    for (const ticket of this.running.keys()) this.end(ticket, null, 'the worker lost its lease');
    for (const { abort } of this.underWay.values()) abort.abort();
    this.underWay.clear();
    this.failures.clear();
  }
}

function settlement(batch: Ended[], max: number): Call {
  return { text: `{"outcomes":[${batch.map(({ text }) => text).join(',')}],"max":${max}}` };
}

/** Let the step of a rejected outcome fail with the server's reason; that failure is not repeated. */
function failuresOfRejected(rejected: Ended[], { message: reason }: ApiError): Ended[] {
  const message = `the server rejected the outcome: ${reason}`;
  const error = { type: 'Rejected', code: 'outcome_rejected', message, retryable: false };
  const failures = rejected.map(({ ticket }) => ({ ticket, text: JSON.stringify({ ticket, outcome: 'failed', error }) }));
  return failures.filter(({ text }, index) => text !== rejected[index]?.text);
}

/** Take as many outcomes as one settlement may have. */
function takeBatch(ended: Ended[], { max_outcomes, body_bytes }: Registered): Ended[] {
  let bytes = 100;
  const fits = ended.findIndex(({ text }, index) => {
    bytes += Buffer.byteLength(text) + 1;
    return index > 0 && (index >= max_outcomes || bytes > body_bytes);
  });
  return ended.splice(0, fits < 0 ? ended.length : fits);
}
