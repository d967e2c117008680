/** Who asks: `id` is `key:<name>`, `oidc:<iss>|<sub>` or `anonymous`. `seesAll`: the jobs of others are theirs to see and touch too. */
export type Caller = { readonly id: string; readonly seesAll: boolean }

/** Whoever comes without credentials to a server that asks for none. */
export const ANONYMOUS_ID = 'anonymous'
