import type { StepContext } from './context.js';
import { errorBody } from './errors.js';
import { type Handler, StepHandlerResult } from './handler.js';
import { requireJson } from './json.js';
import type { Ending } from './protocol.js';

/** Run a handler, and return how its attempt ended. */
export async function runHandler(handler: Handler, context: StepContext): Promise<Ending> {
  try {
    let value = await handler.call(context);
    if (context.suspended !== null) return suspension(context);
    if (value instanceof StepHandlerResult) {
      if (value.error !== null) return { outcome: 'failed', error: errorBody(value.error) };
      value = value.result;
    }
    requireJson(value, 'the result');
    return { outcome: 'complete', result: value ?? null };
  } catch (error) {
    if (context.suspended !== null) return suspension(context);
    return { outcome: 'failed', error: errorBody(error) };
  }
}

function suspension(context: StepContext): Ending {
  const how = context.suspended?.how ?? { checkpoint: null };
  return 'waitFor' in how
    ? { outcome: 'parked', wait_for: how.waitFor }
    : { outcome: 'yielded', checkpoint: how.checkpoint };
}
