import type { Logger } from './log.js';

const FIRST_PAUSE = 10_000; // milliseconds
const LONGEST_PAUSE = 600_000;

/** Logs that a server is unavailable: at once, then at growing intervals, and when it is back. */
export class Outage {
  private since: number | undefined;
  private next = 0;
  private pause = FIRST_PAUSE;

  constructor(
    private readonly url: string,
    private readonly log: Logger,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** Note a request that failed and is tried again. */
  note(error: unknown): void {
    const now = this.now();
    if (this.since === undefined) {
      this.since = this.next = now;
      this.pause = FIRST_PAUSE;
    }
    if (now < this.next) return;
    this.next = now + this.pause;
    this.pause = Math.min(this.pause * 2, LONGEST_PAUSE);
    const why = error instanceof Error ? error.message : String(error);
    this.log.warn(`the server ${this.url} is unavailable, the worker tries again: ${why}`);
  }

  /** Note a request that the server has answered. */
  end(): void {
    if (this.since === undefined) return;
    const seconds = Math.round((this.now() - this.since) / 1_000);
    this.since = undefined;
    this.log.warn(`the server ${this.url} is available again after ${seconds} s`);
  }
}
