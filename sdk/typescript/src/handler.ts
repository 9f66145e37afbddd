import { TaskerError } from './errors.js';
import type { StepContext } from './context.js';
import type { ClaimedStep } from './protocol.js';

/** Which results of earlier steps a handler gets: all ancestors', direct parents', none, or these. */
export type Needs = 'ancestors' | 'parents' | 'none' | string[];

export interface HandlerOptions {
  /** Default: the results that `depends` names, otherwise `ancestors`. */
  needs?: Needs | undefined;
  /** The namespaces that the handler runs for; default: those of the worker. */
  namespaces?: string[] | undefined;
  /** The handler's versions, such as `2.1.0` or `^1.0`, for steps that require one. */
  versions?: string[] | undefined;
}

/** A handler that a worker runs. */
export interface Handler extends HandlerOptions {
  readonly handlerName: string;
  call(context: StepContext): unknown;
}

/** The name of a step or of an input, with the type of its value, which is not checked. */
export type Typed<T> = string & { readonly __value?: T };

/** Give the name of a step or an input the type of its value: `typed<Cart>('validate_cart')`. */
export function typed<T>(name: string): Typed<T> {
  return name;
}

type Names = Record<string, string>;
type Values<N extends Names> = {
  [K in keyof N]: N[K] extends { readonly __value?: infer T } ? T : unknown;
};

export interface InjectedOptions<D extends Names, I extends Names> extends HandlerOptions {
  /** Steps whose results the handler gets, by the names that it gets them under. */
  depends?: D;
  /** Inputs of the task that the handler gets, by the names that it gets them under. */
  inputs?: I;
}

/**
 * Define a handler as a function of its step context.
 *
 * What it returns is the step's result. It throws PermanentError or RetryableError to fail; another
 * error counts as one that a retry may help.
 */
export function defineHandler(name: string, call: (context: StepContext) => unknown): Handler;

/** Define a handler as a function of earlier results and inputs, given by name, and its context. */
export function defineHandler<D extends Names = {}, I extends Names = {}>(
  name: string,
  options: InjectedOptions<D, I>,
  call: (values: Values<D> & Values<I> & { context: StepContext }) => unknown,
): Handler;

export function defineHandler(
  name: string,
  optionsOrCall: InjectedOptions<Names, Names> | ((context: StepContext) => unknown),
  call?: (values: any) => unknown,
): Handler {
  if (typeof optionsOrCall === 'function') return { handlerName: name, call: optionsOrCall };
  const { depends = {}, inputs = {}, ...options } = optionsOrCall;
  const steps = Object.values(depends);
  return {
    handlerName: name,
    needs: steps.length > 0 ? steps : undefined,
    ...options,
    call(context) {
      const values: Record<string, unknown> = { context };
      for (const [as, step] of Object.entries(depends)) values[as] = context.getDependencyResult(step);
      for (const [as, input] of Object.entries(inputs)) values[as] = context.getInput(input);
      return call?.(values);
    },
  };
}

/**
 * Require that the server can choose between handlers of one name: by their versions or namespaces.
 *
 * @param namespaces - those of handlers without their own.
 * @throws TaskerError: it cannot, and one of them would never run.
 */
export function requireDistinct(handlers: readonly Handler[], namespaces: readonly string[]): void {
  const known = new Set<string>();
  for (const handler of handlers) {
    const { handlerName, versions = [], namespaces: own = namespaces } = handler;
    const key = JSON.stringify([dotted(handlerName), [...versions].sort(), [...own].sort()]);
    if (known.has(key)) {
      throw new TaskerError(
        `the worker has two handlers ${handlerName} with the same versions and namespaces: give them` +
          ' different `versions` or `namespaces`, or remove one',
      );
    }
    known.add(key);
  }
}

/** Return the handler that the server chose for a step; older servers leave it to the worker. */
export function findHandler(handlers: readonly Handler[], claimed: ClaimedStep): Handler | undefined {
  const { handler_index: index, namespace } = claimed;
  if (typeof index === 'number') return handlers[index];
  const name = dotted(claimed.handler);
  const prefix = `${namespace}.`;
  const short = name.startsWith(prefix) ? name.slice(prefix.length) : name;
  const serving = handlers.filter(
    ({ namespaces }) => namespaces === undefined || namespaces.includes(namespace) || namespaces.includes('*'),
  );
  const called = (wanted: string) => serving.find(({ handlerName }) => dotted(handlerName) === wanted);
  return called(prefix + name) ?? called(name) ?? called(short);
}

/** Return a name as the server compares it. */
function dotted(name: string): string {
  return name.replaceAll('::', '.');
}

/**
 * Return the result of a decision: the steps to run, of those that depend on it.
 *
 * @param reason - why, above all if no step is to run.
 */
export function choose(steps: string | string[], reason?: string): { chosen: string[]; reason?: string } {
  const chosen = typeof steps === 'string' ? [steps] : steps;
  return reason === undefined ? { chosen } : { chosen, reason };
}
