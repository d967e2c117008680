/** Who asks: `id` is `key:<name>`, `oidc:<iss>|<sub>` or `anonymous`. `seesAll`: the jobs of others are theirs to see and touch too. */
export type Caller = { readonly id: string; readonly seesAll: boolean }

/** Whether a job is this caller's to see and to touch. */
export const maySee = ({ id, seesAll }: Caller, job: { readonly caller: string }): boolean =>
  seesAll || job.caller === id

/** Whether somebody was given the right to see all; whoever owns an open server has it by nature. */
export const isAdmin = ({ id, seesAll }: Caller): boolean => seesAll && id !== ANONYMOUS_ID

/** Whoever comes without credentials to a server that asks for none. */
export const ANONYMOUS_ID = 'anonymous'
