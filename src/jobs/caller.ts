/** The owner of jobs: `id` is `key:<name>`, `oidc:<iss>|<sub>` or `anonymous`. `seesAll`: may read and change all jobs. */
export type Caller = { readonly id: string; readonly seesAll: boolean }

/** Whether the caller may read and change a job. */
export const maySee = ({ id, seesAll }: Caller, job: { readonly caller: string }): boolean =>
  seesAll || job.caller === id

/** Whether the caller has the scope `admin`. On a server without authentication everybody sees all, and nobody has it. */
export const isAdmin = ({ id, seesAll }: Caller): boolean => seesAll && id !== ANONYMOUS_ID

/** The caller of every request on a server without authentication. */
export const ANONYMOUS_ID = 'anonymous'
