import { digestOf, formatEntry, makeKey as newKey, parseScopes } from '../../src/config/formats.ts'

/** What `npm run keys -- create NAME` prints: a key, and its entry in `API_KEYS`. */
export function makeKey(name: string, scopes = 'jobs:read,jobs:write'): { key: string; entry: string } {
  const [key, parsed] = [newKey(), parseScopes(scopes.split(','))]
  if (typeof parsed === 'string') throw new Error(parsed)
  return { key, entry: formatEntry({ name, digest: digestOf(key), scopes: parsed }) }
}
