import { hostname } from 'node:os';
import { Api, type ConnectionOptions, sleep } from './api.js';
import { ApiError, TaskerError } from './errors.js';
import { type Handler, handlerOf, type StepHandlerClass } from './handler.js';
import { Outage } from './outage.js';
import { PROTOCOL, type Registered } from './protocol.js';
import { type Logger, Session } from './session.js';
import { Slots } from './slots.js';
import { VERSION } from './version.js';

export interface WorkerOptions extends ConnectionOptions {
  handlers: (Handler | StepHandlerClass)[];
  /**
   * The namespaces whose templates may call the handlers, `*` for all that the key may serve;
   * default: `TASKER_NAMESPACE`, separated by commas. Handlers may have their own.
   */
  namespaces?: string[];
  /** How many attempts run at once; default: 10. */
  slots?: number;
  /** For operators; default: host and process id. */
  name?: string;
  labels?: Record<string, string>;
  /** The version of your code, for operators. */
  build?: string;
  /** The environment whose overrides in templates apply. */
  environment?: string;
  /** Seconds that running handlers get when the worker stops; default: 30. */
  grace?: number;
  /** Where warnings and errors go; default: `console`. */
  logger?: Logger;
  /** Whether SIGTERM and SIGINT stop the worker, the second one at once; default: true. */
  handleSignals?: boolean;
}

/** Runs handlers for a server, until it is stopped. */
export class Worker {
  private readonly api: Api;
  private readonly handlers: Handler[];
  private readonly slots: Slots;
  private readonly log: Logger;
  private readonly starting = new AbortController();
  private session: Session | undefined;
  private stopped: Promise<void> | undefined;

  /** @throws TaskerError: there are no handlers, or a handler has no namespace. */
  constructor(private readonly options: WorkerOptions) {
    this.api = new Api(options);
    this.handlers = options.handlers.map(handlerOf);
    this.slots = new Slots(options.slots ?? 10);
    this.log = options.logger ?? console;
    this.api.outage = new Outage(this.api.url, this.log);
    if (this.handlers.length === 0) throw new TaskerError('a worker needs handlers');
    const unbound = this.handlers.find((handler) => handler.namespaces === undefined);
    if (unbound !== undefined && this.namespaces.length === 0) {
      throw new TaskerError(
        `handler ${unbound.handlerName} has no namespace: give the worker \`namespaces\`, set` +
          ' TASKER_NAMESPACE, or give the handler `namespaces`',
      );
    }
  }

  /**
   * Register and run handlers until `stop` is called or a signal arrives.
   *
   * @throws ApiError: the server refuses the registration.
   */
  async run(): Promise<void> {
    const forget = this.options.handleSignals === false ? () => {} : this.watchSignals();
    try {
      for (;;) {
        const registered = await this.register();
        if (registered === null) return;
        this.session = new Session(this.api, registered, this.handlers, this.slots, this.log);
        const lost = await this.session.run();
        if (!lost || this.starting.signal.aborted) return;
      }
    } finally {
      await this.stopped;
      forget();
    }
  }

  /** Claim no more steps, wait for running handlers, hand back the others, and retire. */
  stop(): Promise<void> {
    this.starting.abort();
    this.stopped ??= this.session?.drain(this.options.grace ?? 30) ?? Promise.resolve();
    return this.stopped;
  }

  private get namespaces(): string[] {
    return this.options.namespaces ?? (process.env['TASKER_NAMESPACE'] ?? '').split(',').filter(Boolean);
  }

  /** Return the registration; null: the worker was stopped before there was one. */
  private async register(): Promise<Registered | null> {
    const { labels, build, environment, name } = this.options;
    const body = {
      protocol: PROTOCOL,
      name: name ?? `${hostname()}:${process.pid}`,
      slots: this.slots.total,
      sdk: `typescript/${VERSION}`,
      namespaces: this.namespaces,
      labels,
      build,
      environment,
      handlers: this.handlers.map(({ handlerName, needs, versions, namespaces }) => ({
        name: handlerName,
        needs,
        versions,
        namespaces,
      })),
    };
    const again = this.session !== undefined;
    const { signal } = this.starting;
    while (!signal.aborted) {
      try {
        const call = { body, retries: Number.POSITIVE_INFINITY, signal };
        const registered = await this.api.send<Registered>('POST', '/v1/workers', call);
        this.report(registered);
        return registered;
      } catch (error) {
        if (signal.aborted) return null;
        if (!again || !(error instanceof ApiError)) throw error;
        this.log.error(`the server refuses to register the worker again: ${error.message}`);
        await sleep(5_000, signal);
      }
    }
    return null;
  }

  private report({ unserved = [], refused = [] }: Registered): void {
    if (unserved.length > 0) this.log.warn(`no template asks for these handlers yet: ${unserved.join(', ')}`);
    if (refused.length > 0) this.log.error(`the API key may not serve these handlers: ${refused.join(', ')}`);
  }

  private watchSignals(): () => void {
    const stop = (signal: NodeJS.Signals) => {
      if (this.starting.signal.aborted) process.exit(signal === 'SIGINT' ? 130 : 143);
      void this.stop();
    };
    process.on('SIGTERM', stop).on('SIGINT', stop);
    return () => {
      process.off('SIGTERM', stop).off('SIGINT', stop);
    };
  }
}
