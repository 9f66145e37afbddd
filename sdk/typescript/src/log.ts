import { asJson } from './json.js';

const MOST_RECORDS = 1_000; // of an attempt
const MOST_CHARACTERS = 262_144; // of their messages
const LONGEST_MESSAGE = 4_096; // characters; the rest is cut off
const BATCH = 50;
const FULL =
  `further records of this attempt are not kept: the limit is ${MOST_RECORDS} records, or` +
  ` ${MOST_CHARACTERS} characters`;

export type LogLevel = 'debug' | 'info' | 'warning' | 'error' | 'critical';

/** Where a worker writes; `console` is one. */
export interface Logger {
  warn(message: string): void;
  error(message: string): void;
}

/** A log record of an attempt. */
export interface LogRecord {
  /** Its number in the attempt, from 0. */
  number: number;
  at: string;
  level: LogLevel;
  message: string;
  /** `progress` for reports of progress. */
  source: string;
  fields: Record<string, unknown>;
}

type NewRecord = Omit<LogRecord, 'number'>;

/** Writes log records that are stored with the attempt, and shown with its step. */
export interface StepLogger {
  debug(message: string, fields?: object): void;
  info(message: string, fields?: object): void;
  warn(message: string, fields?: object): void;
  error(message: string, fields?: object): void;
}

/** The log records of an attempt that are not sent yet: numbered, bounded, sent in batches. */
export class StepLog implements StepLogger {
  private readonly pending: LogRecord[] = [];
  private latestProgress: NewRecord | undefined;
  private count = 0;
  private characters = 0;
  private sending: Promise<void> = Promise.resolve();

  /** @param send - sends records; returns false if the next `flush` is to send them again. */
  constructor(private readonly send: (records: LogRecord[]) => Promise<boolean>) {}

  debug = (message: string, fields?: object): void => this.append(newRecord('debug', message, '', fields));
  info = (message: string, fields?: object): void => this.append(newRecord('info', message, '', fields));
  warn = (message: string, fields?: object): void => this.append(newRecord('warning', message, '', fields));
  error = (message: string, fields?: object): void => this.append(newRecord('error', message, '', fields));

  /** Keep how far the attempt is, instead of what was not sent yet. */
  progress(fraction: number, message: string): void {
    this.latestProgress = newRecord('info', message, 'progress', { fraction });
  }

  /** Send what was not sent yet, in batches. */
  flush(): Promise<void> {
    this.sending = this.sending.then(() => this.sendPending());
    return this.sending;
  }

  private async sendPending(): Promise<void> {
    for (;;) {
      if (this.latestProgress !== undefined) this.append(this.latestProgress);
      this.latestProgress = undefined;
      const batch = this.pending.slice(0, BATCH);
      if (batch.length === 0 || !(await this.send(batch))) return;
      this.pending.splice(0, batch.length);
    }
  }

  private append(record: NewRecord): void {
    if (this.count > MOST_RECORDS || this.characters > MOST_CHARACTERS) return;
    this.characters += record.message.length;
    const fits = this.count < MOST_RECORDS && this.characters <= MOST_CHARACTERS;
    this.pending.push({ number: this.count, ...(fits ? record : newRecord('warning', FULL, 'tasker')) });
    this.count += 1;
  }
}

function newRecord(level: LogLevel, message: string, source: string, fields: object = {}): NewRecord {
  const text = String(message).slice(0, LONGEST_MESSAGE).replace(/\p{Surrogate}/gu, '\ufffd');
  const values = Object.entries(fields).map(([name, value]) => [name, asJson(value)]);
  return { at: new Date().toISOString(), level, message: text, source, fields: Object.fromEntries(values) };
}
