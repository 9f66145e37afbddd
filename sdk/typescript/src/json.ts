import { PermanentError } from './errors.js';

/** A value that JSON can carry. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Return a value as JSON carries it; a value without a JSON form becomes text. */
export function asJson(value: unknown): unknown {
  try {
    return JSON.parse(JSON.stringify(value));
  } catch {
    return String(value);
  }
}

/**
 * Require that JSON can carry a value: `JSON.stringify` drops or changes what it cannot.
 *
 * @throws PermanentError: it cannot; the message has the path.
 */
export function requireJson(value: unknown, what: string): void {
  const wrong = findUnserializable(value, '$', []);
  if (wrong !== null) {
    throw new PermanentError(`${what} has no JSON form: ${wrong}`, { code: 'invalid_result' });
  }
}

/** @param above - the objects that contain the value. */
function findUnserializable(value: unknown, path: string, above: readonly object[]): string | null {
  if (typeof value === 'number') return Number.isFinite(value) ? null : `${path} is ${value}`;
  if (['bigint', 'function', 'symbol'].includes(typeof value)) return `${path} is a ${typeof value}`;
  if (typeof value !== 'object' || value === null) return null;
  if ('toJSON' in value && typeof value.toJSON === 'function') {
    return findUnserializable(value.toJSON(), path, above);
  }
  if (above.includes(value)) return `${path} contains itself`;
  if (value instanceof Map || value instanceof Set) return `${path} is a ${value.constructor.name}`;
  const within = [...above, value];
  for (const [key, inner] of Object.entries(value)) {
    const at = Array.isArray(value) ? `${path}[${key}]` : `${path}.${key}`;
    const wrong = findUnserializable(inner, at, within);
    if (wrong !== null) return wrong;
  }
  return null;
}
