/** Counts the attempts that may run at once, and those that requests under way may bring. */
export class Slots {
  private used = 0;
  private wake: (() => void) | undefined;

  constructor(readonly total: number) {}

  /** Reserve all free slots, and return how many they are. */
  reserveFree(): number {
    const free = Math.max(this.total - this.used, 0);
    this.used += free;
    return free;
  }

  release(count: number): void {
    this.used -= count;
    this.notify();
  }

  /** Count steps that came without a reservation. */
  exceed(count: number): void {
    this.used += count;
  }

  /** End a wait of `available` early. */
  notify(): void {
    this.wake?.();
    this.wake = undefined;
  }

  /** Return when a slot may have become free. */
  available(): Promise<void> {
    if (this.used < this.total) return Promise.resolve();
    return new Promise((resolve) => {
      this.wake = resolve;
    });
  }
}
