import type { Logger } from './log.js';

const FIRST_PAUSE = 10_000; // milliseconds
const LONGEST_PAUSE = 600_000;

/** Logs that a server is unavailable: at once, then at growing intervals, and when it is back. */
export class Outage {
  private current: { since: number; next: number; pause: number } | undefined;

  constructor(
    private readonly url: string,
    private readonly log: Logger,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** Note a request that failed and is tried again. */
  note(error: unknown): void {
    const now = this.now();
    this.current ??= { since: now, next: now, pause: FIRST_PAUSE };
    if (now < this.current.next) return;
    this.current.next = now + this.current.pause;
    this.current.pause = Math.min(this.current.pause * 2, LONGEST_PAUSE);
    const why = error instanceof Error ? error.message : String(error);
    this.log.warn(`the server ${this.url} is unavailable, the worker tries again: ${why}`);
  }

  /** Note a request that the server has answered. */
  end(): void {
    if (this.current === undefined) return;
    const seconds = Math.round((this.now() - this.current.since) / 1_000);
    this.current = undefined;
    this.log.warn(`the server ${this.url} is available again after ${seconds} s`);
  }
}
