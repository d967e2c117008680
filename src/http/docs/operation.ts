import type { TObject } from '@sinclair/typebox'
import type { ProblemCode } from '../../problems.ts'

/** The documentation of one answer. Its schema is that of the route. */
export type Answer = {
  readonly description: string
  /** Headers of this answer, beside those of the rate limit. */
  readonly headers?: readonly HeaderName[]
  /** Bodies by a short name. */
  readonly examples?: Examples
}

export type Examples = Readonly<Record<string, { readonly summary: string; readonly value: unknown }>>

/** The groups in which operations are shown, in their order. */
export const TAGS = {
  jobs: 'Submit jobs, follow them, fetch their results.',
  batches: 'Submit many jobs at once, and follow them together.',
  events: 'Be notified of changes instead of polling.',
  webhooks: 'Be notified by signed requests, and check their delivery.',
  health: 'For load balancers, orchestrators and monitoring.',
  reference: 'This document.',
} as const

/** The documentation of a route. Its schemas and its access come from the route itself. */
export type Operation = {
  readonly operationId: string
  readonly tag: keyof typeof TAGS
  readonly summary: string
  readonly description: string
  /** Headers that the route reads. */
  readonly headers?: TObject
  /** Bodies by a short name. */
  readonly body?: Examples
  /** The body as multipart/form-data, where the route accepts that too, with examples by a short name. */
  readonly form?: { readonly schema: TObject; readonly examples: Examples }
  /** By status. */
  readonly answers: Readonly<Record<number, Answer>>
  /** Problems of this operation. Those of access, limits, bodies and paths are added. */
  readonly problems?: readonly ProblemCode[]
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The documentation of the route in the reference. */
    docs?: Operation
  }
}

/** Headers of answers. */
export const HEADERS = {
  Location: {
    description: 'Where the job is, relative to this server.',
    schema: { type: 'string' },
    example: '/jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11',
  },
  'Idempotent-Replayed': {
    description: 'Present if an earlier submit with this `Idempotency-Key` created the job.',
    schema: { type: 'string', enum: ['true'] },
    example: 'true',
  },
  'Preference-Applied': {
    description: 'Present if `Prefer` asked to wait: the longest wait in seconds (RFC 7240).',
    schema: { type: 'string' },
    example: 'wait=30',
  },
  ETag: {
    description: 'Names this content, for `If-None-Match` (RFC 9110).',
    schema: { type: 'string' },
    example: '"pNk8xkV1uZrYc0mD"',
  },
  Link: {
    description: 'Present unless this is the last page: the next one, relative to the URL of the request (RFC 8288).',
    schema: { type: 'string' },
    example: '<?limit=20&cursor=MTc2OTg2MDgwMDAwMC4wMTk4YTZmMC03YzFlLTdhNTItOWQ1Yi0zZjFmNWEwYzJiMTE>; rel="next"',
  },
  'Last-Modified': {
    description: 'When the file was created.',
    schema: { type: 'string' },
    example: 'Sat, 31 Jan 2026 12:01:30 GMT',
  },
  'Accept-Ranges': { description: 'The server supports byte ranges.', schema: { type: 'string' }, example: 'bytes' },
  'Content-Range': {
    description: 'The range of this answer, and the size of the whole.',
    schema: { type: 'string' },
    example: 'bytes 0-1023/203850',
  },
  'Content-Disposition': {
    description: 'With `download=1`: the file name for the download.',
    schema: { type: 'string' },
    example: 'attachment; filename="0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11.mp4"',
  },
  'RateLimit-Policy': {
    description:
      'The limits that apply: `q` requests of this kind in `w` seconds; for submits also `q` unfinished jobs (`"jobs"`), if there is such a limit.',
    schema: { type: 'string' },
    example: '"read";q=6000;w=60',
  },
  RateLimit: {
    description: 'How many requests remain (`r`), and the seconds until the window ends (`t`).',
    schema: { type: 'string' },
    example: '"read";r=5999;t=60',
  },
  'RateLimit-Limit': {
    description: 'Requests of this kind that you may send per minute.',
    schema: { type: 'integer' },
    example: 6000,
  },
  'RateLimit-Remaining': {
    description: 'How many of them remain.',
    schema: { type: 'integer' },
    example: 5999,
  },
  'RateLimit-Reset': { description: 'Seconds until the minute ends.', schema: { type: 'integer' }, example: 60 },
  'X-Request-Id': {
    description: "The id of the request in the server's log.",
    schema: { type: 'string' },
    example: '5f0c2b1a9d3e-1k',
  },
  'Retry-After': { description: 'Seconds to wait before the next request.', schema: { type: 'integer' }, example: 10 },
  'WWW-Authenticate': {
    description: 'How to authenticate (RFC 6750).',
    schema: { type: 'string' },
    example: 'Bearer realm="musetalk-orchestrator", error="invalid_token"',
  },
} as const

export type HeaderName = keyof typeof HEADERS

/** Headers of every answer of a rate-limited route (draft-ietf-httpapi-ratelimit-headers, -10 and -03). */
export const RATE_LIMIT_HEADERS = [
  'RateLimit-Policy',
  'RateLimit',
  'RateLimit-Limit',
  'RateLimit-Remaining',
  'RateLimit-Reset',
] as const

/** Header objects that point to the components of these names. */
export const headerRefs = (names: readonly HeaderName[]) =>
  Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]))
