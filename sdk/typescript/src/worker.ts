import { once } from 'node:events';
import { hostname } from 'node:os';
import { Api, type ConnectionOptions, LATER, sleep } from './api.js';
import { TaskerError } from './errors.js';
import { type Handler, handlerOf, requireDistinct, type StepHandlerClass } from './handler.js';
import type { Logger } from './log.js';
import { Outage } from './outage.js';
import { PROTOCOL, type Registered } from './protocol.js';
import { Session } from './session.js';
import { VERSION } from './version.js';

export interface WorkerOptions extends ConnectionOptions {
  /** Handlers of the same name need different `versions` or `namespaces`. */
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
  private readonly namespaces: string[];
  private readonly slots: number;
  private readonly log: Logger;
  private readonly stopping = new AbortController();
  private done: Promise<void> = Promise.resolve();

  /** @throws TaskerError: there are no handlers, a handler has no namespace, or one is given twice. */
  constructor(private readonly options: WorkerOptions) {
    this.api = new Api(options);
    this.handlers = options.handlers.map(handlerOf);
    this.namespaces = options.namespaces ?? (process.env['TASKER_NAMESPACE'] ?? '').split(',').filter(Boolean);
    this.slots = options.slots ?? 10;
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
    requireDistinct(this.handlers, this.namespaces);
  }

  /**
   * Register and run handlers until `stop` is called or a signal arrives.
   *
   * @throws ApiError: the server refuses the registration.
   */
  run(): Promise<void> {
    this.done = this.serve();
    return this.done;
  }

  /** Claim no more steps, wait for running handlers, hand back the others, and retire. */
  stop(): Promise<void> {
    this.stopping.abort();
    return this.done.catch(() => {}); // `run` has thrown it
  }

  private async serve(): Promise<void> {
    const stop = (name: NodeJS.Signals) => {
      if (this.stopping.signal.aborted) process.exit(name === 'SIGINT' ? 130 : 143);
      void this.stop();
    };
    if (this.options.handleSignals !== false) process.on('SIGTERM', stop).on('SIGINT', stop);
    try {
      const registered = await this.register();
      if (registered === null) return;
      const again = () => this.register(true);
      const session = new Session(this.api, registered, again, this.handlers, this.slots, this.log);
      await stopped(this.stopping.signal);
      await session.drain(this.options.grace ?? 30);
    } finally {
      process.off('SIGTERM', stop).off('SIGINT', stop);
    }
  }

  /** Return the registration; null: the worker was stopped meanwhile. A refusal ends it only at its start. */
  private async register(again = false): Promise<Registered | null> {
    const { labels, build, environment, name = `${hostname()}:${process.pid}` } = this.options;
    const { namespaces, slots } = this;
    const handlers = this.handlers.map(({ handlerName, call: _, ...options }) => ({ name: handlerName, ...options }));
    const about = { protocol: PROTOCOL, sdk: `typescript/${VERSION}`, name, labels, build, environment };
    const { signal } = this.stopping;
    const call = { body: { ...about, slots, namespaces, handlers }, retries: Number.POSITIVE_INFINITY, signal };
    while (!signal.aborted) {
      try {
        const registered = await this.api.send<Registered>('POST', '/v1/workers', call);
        const { unserved = [], refused = [] } = registered;
        if (unserved.length > 0) this.log.warn(`no template asks for these handlers yet: ${unserved.join(', ')}`);
        if (refused.length > 0) this.log.error(`the API key may not serve these handlers: ${refused.join(', ')}`);
        return registered;
      } catch (error) {
        if (signal.aborted) return null;
        if (!again) throw error;
        this.log.error(`the server refuses to register the worker again: ${String(error)}`);
        await sleep(LATER, signal);
      }
    }
    return null;
  }
}

async function stopped(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, 'abort');
}
