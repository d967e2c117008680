import { createHmac, timingSafeEqual } from 'node:crypto'
import { currentAttempt, type FileKind, type Job } from './job.ts'

/** What a link permits; one for one purpose is worth nothing for another. */
export type LinkPurpose = 'output' | `input:${FileKind}`

/** One attempt of one job. */
export type LinkSubject = { readonly id: string; readonly attempt: number }

/** The parameters of a signed link, as they come in a query; `expires` is in s since 1970. */
export type LinkQuery = { readonly expires?: string | undefined; readonly signature?: string | undefined }

/** A link's parameters as they are made. */
export type LinkParameters = { readonly expires: string; readonly signature: string }

/** Makes and judges links that need no other permission until they expire. */
export type LinkSigner = {
  /** Absolute URL of a job's output, good for `ttlSeconds` from now. */
  outputUrl(job: Job): string
  /** Absolute URL of a file that came with a job, for whoever runs the job: good until an hour after its deadline. */
  inputUrl(job: Job, kind: FileKind): string
  /** The parameters that permit something, good for `ttlSeconds` from now. */
  sign(purpose: LinkPurpose, subject: LinkSubject): LinkParameters
  /** Whether somebody with one of the secrets signed exactly this, and it has not expired. */
  verify(purpose: LinkPurpose, subject: LinkSubject, query: LinkQuery): boolean
}

export type LinkSignerOptions = {
  /** At least one. The first signs; the others are still believed. */
  readonly secrets: readonly string[]
  /** Where callers reach this server, without a slash at its end. */
  readonly publicUrl: () => string
  readonly ttlSeconds: number
  /** Epoch ms. */
  readonly now?: () => number
}

/** A call that is stopped at the deadline may read on for a while: how much longer a link to an input is good, in s. */
const INPUT_LINK_GRACE_SECONDS = 3600

/** What of a job a link is for. */
export const linkSubjectOf = (job: Job): LinkSubject => ({ id: job.id, attempt: currentAttempt(job).attempt })

export function createLinkSigner({ secrets, publicUrl, ttlSeconds, now = Date.now }: LinkSignerOptions): LinkSigner {
  const [newest] = secrets
  if (newest === undefined) throw new Error('links cannot be signed without a secret')

  const signUntil = (purpose: LinkPurpose, subject: LinkSubject, expiresAt: number) => {
    const expires = String(expiresAt)
    return { expires, signature: signatureOf(newest, purpose, subject, expires) }
  }
  const sign = (purpose: LinkPurpose, subject: LinkSubject) =>
    signUntil(purpose, subject, Math.floor(now() / 1000) + ttlSeconds)

  return {
    sign,
    outputUrl(job) {
      const query = new URLSearchParams(sign('output', linkSubjectOf(job)))
      return `${publicUrl()}/jobs/${job.id}/output?${query.toString()}`
    },
    inputUrl(job, kind) {
      const expiresAt = Math.ceil(job.deadlineAt / 1000) + INPUT_LINK_GRACE_SECONDS
      const query = new URLSearchParams(signUntil(`input:${kind}`, linkSubjectOf(job), expiresAt))
      return `${publicUrl()}/jobs/${job.id}/inputs/${kind}?${query.toString()}`
    },
    verify(purpose, subject, { expires, signature }) {
      if (expires === undefined || signature === undefined || !/^\d{1,12}$/.test(expires)) return false
      const genuine = secrets.some((secret) => isSame(signature, signatureOf(secret, purpose, subject, expires)))
      return genuine && Number(expires) * 1000 > now()
    },
  }
}

/** None of the parts can hold a line break, so that no two subjects are signed alike. */
function signatureOf(secret: string, purpose: LinkPurpose, { id, attempt }: LinkSubject, expires: string): string {
  return createHmac('sha256', secret).update([purpose, id, attempt, expires].join('\n')).digest('base64url')
}

/** In a time that does not tell how much of it is right. */
function isSame(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)]
  return a.length === b.length && timingSafeEqual(a, b)
}
