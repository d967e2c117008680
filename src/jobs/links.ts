import { createHmac, timingSafeEqual } from 'node:crypto'
import { currentAttempt, type FileKind, type Job } from './job.ts'

/** What a link gives access to. */
export type LinkPurpose = 'output' | `input:${FileKind}` | 'upload' | 'upload:put'

/** One attempt of one job. */
export type LinkSubject = { readonly id: string; readonly attempt: number }

/** The parameters of a signed link, as received; `expires`: epoch seconds. */
export type LinkQuery = { readonly expires?: string | undefined; readonly signature?: string | undefined }

/** The parameters of a new link. */
export type LinkParameters = { readonly expires: string; readonly signature: string }

/** Makes and verifies signed links, which need no credential until they expire. */
export type LinkSigner = {
  /** Absolute URL of a job's output, valid for `ttlSeconds` from now at the least; the same while `expiresAt` is. */
  outputUrl(job: Job): string
  /** When links to outputs that are made now expire, in epoch seconds. */
  expiresAt(): number
  /** Absolute URL of a job's uploaded file, for the backend: valid until an hour after the deadline. */
  inputUrl(job: Job, kind: FileKind): string
  /** Absolute URL to which the file of an upload can be sent for `ttlSeconds` from now. */
  uploadUrl(uploadId: string, ttlSeconds: number): string
  /** The parameters of a link that expires at this time (epoch seconds), by default at `expiresAt()`. */
  sign(purpose: LinkPurpose, subject: LinkSubject, expiresAt?: number): LinkParameters
  /** Whether one of the secrets signed exactly this, whether or not it has expired. */
  isSigned(purpose: LinkPurpose, subject: LinkSubject, query: LinkQuery): boolean
  /** Whether one of the secrets signed exactly this and the link has not expired. */
  verify(purpose: LinkPurpose, subject: LinkSubject, query: LinkQuery): boolean
}

export type LinkSignerOptions = {
  /** At least one. The first signs; all verify. */
  readonly secrets: readonly string[]
  /** The URL at which clients reach this server, without a trailing slash. */
  readonly publicUrl: () => string
  /** The least time for which a link to an output is valid. */
  readonly ttlSeconds: number
  /** Epoch ms. */
  readonly now?: () => number
}

/**
 * Links to outputs that are made within a window, this part of their time to live, expire together: then a rendered job
 * stays the same for a while, on every replica.
 */
const WINDOWS_IN_TTL = 4

/** How long a link to an input stays valid after the deadline, in seconds: a call that is being stopped may still read. */
const INPUT_LINK_GRACE_SECONDS = 3600

/** The subject of a job's links: its current attempt. */
export const linkSubjectOf = (job: Job): LinkSubject => ({ id: job.id, attempt: currentAttempt(job).attempt })

/** The subject of the link to which the file of an upload is sent. */
export const uploadLinkSubject = (uploadId: string): LinkSubject => ({ id: uploadId, attempt: 0 })

export function createLinkSigner({ secrets, publicUrl, ttlSeconds, now = Date.now }: LinkSignerOptions): LinkSigner {
  const [newest] = secrets
  if (newest === undefined) throw new Error('links cannot be signed without a secret')

  const signUntil = (purpose: LinkPurpose, subject: LinkSubject, expiresAt: number) => {
    const expires = String(expiresAt)
    return { expires, signature: signatureOf(newest, purpose, subject, expires) }
  }
  const windowSeconds = Math.ceil(ttlSeconds / WINDOWS_IN_TTL)
  /** `ttlSeconds` after the end of the current window. */
  const expiresAt = () => (Math.floor(now() / 1000 / windowSeconds) + 1) * windowSeconds + ttlSeconds
  const sign: LinkSigner['sign'] = (purpose, subject, until = expiresAt()) => signUntil(purpose, subject, until)
  const isSigned: LinkSigner['isSigned'] = (purpose, subject, { expires, signature }) => {
    if (expires === undefined || signature === undefined || !/^\d{1,12}$/.test(expires)) return false
    return secrets.some((secret) => isSame(signature, signatureOf(secret, purpose, subject, expires)))
  }

  return {
    sign,
    isSigned,
    expiresAt,
    uploadUrl(uploadId, ttlSeconds) {
      const until = Math.floor(now() / 1000) + ttlSeconds
      const query = new URLSearchParams(signUntil('upload:put', uploadLinkSubject(uploadId), until))
      return `${publicUrl()}/uploads/${uploadId}?${query.toString()}`
    },
    outputUrl(job) {
      const query = new URLSearchParams(sign('output', linkSubjectOf(job)))
      return `${publicUrl()}/jobs/${job.id}/output?${query.toString()}`
    },
    inputUrl(job, kind) {
      const expiresAt = Math.ceil(job.deadlineAt / 1000) + INPUT_LINK_GRACE_SECONDS
      const query = new URLSearchParams(signUntil(`input:${kind}`, linkSubjectOf(job), expiresAt))
      return `${publicUrl()}/jobs/${job.id}/inputs/${kind}?${query.toString()}`
    },
    verify: (purpose, subject, query) => isSigned(purpose, subject, query) && Number(query.expires) * 1000 > now(),
  }
}

/** No part can contain a line break, so that two subjects never have the same signature. */
function signatureOf(secret: string, purpose: LinkPurpose, { id, attempt }: LinkSubject, expires: string): string {
  return createHmac('sha256', secret).update([purpose, id, attempt, expires].join('\n')).digest('base64url')
}

/** Constant-time comparison. */
function isSame(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)]
  return a.length === b.length && timingSafeEqual(a, b)
}
