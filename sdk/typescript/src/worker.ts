import { hostname } from 'node:os';
import { Api, type ConnectionOptions } from './api.js';
import { handlerOf, type StepHandlerClass } from './class_handlers.js';
import { TaskerError } from './errors.js';
import { type Handler, requireDistinct } from './handler.js';
import type { Logger } from './log.js';
import { PROTOCOL } from './protocol.js';
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
  private readonly log: Logger = this.options.logger ?? console;
  private readonly api = new Api(this.options, this.log);
  private readonly handlers = this.options.handlers.map(handlerOf);
  private readonly namespaces =
    this.options.namespaces ?? (process.env['TASKER_NAMESPACE'] ?? '').split(',').filter(Boolean);
  private readonly slots = this.options.slots ?? 10;
  private readonly stopping = new AbortController();
  private done: Promise<void> = Promise.resolve();

  /** @throws TaskerError: there are no handlers, a handler has no namespace, or one is given twice. */
  constructor(private readonly options: WorkerOptions) {
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
    const { signal } = this.stopping;
    const stop = (name: NodeJS.Signals) => {
      if (signal.aborted) process.exit(name === 'SIGINT' ? 130 : 143);
      void this.stop();
    };
    if (this.options.handleSignals !== false) process.on('SIGTERM', stop).on('SIGINT', stop);
    const { handlers, slots, log } = this;
    try {
      await new Session(this.api, this.registration(), handlers, slots, signal, log).run(this.options.grace ?? 30);
    } catch (error) {
      if (error !== signal.reason) throw error; // otherwise it was stopped while it registered
    } finally {
      process.off('SIGTERM', stop).off('SIGINT', stop);
    }
  }

  private registration(): object {
    const { labels, build, environment, name = `${hostname()}:${process.pid}` } = this.options;
    const { namespaces, slots } = this;
    const handlers = this.handlers.map(({ handlerName, call: _, ...options }) => ({ name: handlerName, ...options }));
    const about = { protocol: PROTOCOL, sdk: `typescript/${VERSION}`, name, labels, build, environment };
    return { ...about, slots, namespaces, handlers };
  }
}
