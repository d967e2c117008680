import type { Authenticator, Scope } from '../../src/jobs/ports/access.ts'

/** Callers by their credential, for tests of what each may do. */
const CALLERS: Readonly<Record<string, { id: string; scopes: readonly Scope[] }>> = {
  'alice-reads': { id: 'key:alice', scopes: ['jobs:read'] },
  'alice-writes': { id: 'key:alice', scopes: ['jobs:write'] },
  alice: { id: 'key:alice', scopes: ['jobs:read', 'jobs:write'] },
  'alice-of-the-issuer': { id: 'oidc:https://issuer.test|alice', scopes: ['jobs:read', 'jobs:write'] },
  bob: { id: 'key:bob', scopes: ['jobs:read', 'jobs:write'] },
  metrics: { id: 'key:metrics', scopes: ['metrics:read'] },
  nothing: { id: 'key:nothing', scopes: [] },
  root: { id: 'key:root', scopes: ['admin'] },
}

/** Knows a few callers by name only. */
export const knownCallers: Authenticator = {
  authenticate: ({ text }) => {
    const found = CALLERS[text]
    return Promise.resolve(found && { id: found.id, scopes: new Set(found.scopes) })
  },
  onReload: () => undefined,
  close: () => Promise.resolve(),
}

/** The header of a caller's credential. */
export const as = (caller: string | undefined): Record<string, string> =>
  caller === undefined ? {} : { authorization: `Bearer ${caller}` }
