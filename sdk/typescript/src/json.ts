import { PermanentError } from './errors.js';

/** A value that JSON can carry. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/**
 * Require that JSON can carry a value: `JSON.stringify` drops or changes what it cannot.
 *
 * @throws PermanentError: it cannot; the message has the path.
 */
export function requireJson(value: unknown, what: string): void {
  const wrong = findUnserializable(value, '$', new Set());
  if (wrong !== null) {
    throw new PermanentError(`${what} has no JSON form: ${wrong}`, { code: 'invalid_result' });
  }
}

function findUnserializable(value: unknown, path: string, above: Set<object>): string | null {
  switch (typeof value) {
    case 'number':
      return Number.isFinite(value) ? null : `${path} is ${value}`;
    case 'bigint':
    case 'function':
    case 'symbol':
      return `${path} is a ${typeof value}`;
    case 'object':
      break;
    default:
      return null;
  }
  if (value === null) return null;
  const converted = (value as { toJSON?: unknown }).toJSON;
  if (typeof converted === 'function') return findUnserializable(converted.call(value), path, above);
  if (above.has(value)) return `${path} contains itself`;
  if (value instanceof Map || value instanceof Set) {
    return `${path} is a ${value.constructor.name}`;
  }
  above.add(value);
  for (const [key, inner] of Object.entries(value)) {
    const at = Array.isArray(value) ? `${path}[${key}]` : `${path}.${key}`;
    const wrong = findUnserializable(inner, at, above);
    if (wrong !== null) return wrong;
  }
  above.delete(value);
  return null;
}
