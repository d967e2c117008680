import type { TObject } from '@sinclair/typebox'
import type { ProblemCode } from '../../problems.ts'

/** What one answer says beside its schema, which is the route's. */
export type Answer = {
  readonly description: string
  /** Headers of this answer, beside those that limits bring. */
  readonly headers?: readonly HeaderName[]
  /** Bodies by a short name. */
  readonly examples?: Examples
}

export type Examples = Readonly<Record<string, { readonly summary: string; readonly value: unknown }>>

/** The groups in which operations are shown, in their order. */
export const TAGS = {
  jobs: 'Submit jobs, follow them, fetch what they made.',
  events: 'Be notified of changes instead of polling.',
  webhooks: 'Be notified by signed requests, and see whether they arrived.',
  health: 'For load balancers, orchestrators and monitoring.',
  reference: 'This document.',
} as const

/** What the reference says of a route. What the route says itself (schemas, who may use it) is not repeated here. */
export type Operation = {
  readonly operationId: string
  readonly tag: keyof typeof TAGS
  readonly summary: string
  readonly description: string
  /** Headers that the route reads. */
  readonly headers?: TObject
  /** Bodies by a short name. */
  readonly body?: Examples
  /** The body as multipart/form-data, where the route takes that as well, with such bodies by a short name. */
  readonly form?: { readonly schema: TObject; readonly examples: Examples }
  /** By status. */
  readonly answers: Readonly<Record<number, Answer>>
  /** Problems of this operation. Those that come with access, limits, bodies and paths are added. */
  readonly problems?: readonly ProblemCode[]
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What the reference says of the route, beside its schemas and its access. */
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
    description: 'Present where an earlier submit of this `Idempotency-Key` made the job.',
    schema: { type: 'string', enum: ['true'] },
    example: 'true',
  },
  'Preference-Applied': {
    description: 'Present where `Prefer` asked to wait: for how many seconds at most (RFC 7240).',
    schema: { type: 'string' },
    example: 'wait=30',
  },
  ETag: { description: 'Names this content (RFC 9110).', schema: { type: 'string' }, example: '"31c4a-19c1a2b3c4d"' },
  'Last-Modified': {
    description: 'When the file was made.',
    schema: { type: 'string' },
    example: 'Sat, 31 Jan 2026 12:01:30 GMT',
  },
  'Accept-Ranges': { description: 'Ranges of bytes may be asked for.', schema: { type: 'string' }, example: 'bytes' },
  'Content-Range': {
    description: 'Which bytes these are, of how many.',
    schema: { type: 'string' },
    example: 'bytes 0-1023/203850',
  },
  'Content-Disposition': {
    description: 'With `download=1`: the name to save it under.',
    schema: { type: 'string' },
    example: 'attachment; filename="0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11.mp4"',
  },
  'RateLimit-Limit': {
    description: 'Requests of this kind that you may make in a minute.',
    schema: { type: 'integer' },
    example: 6000,
  },
  'RateLimit-Remaining': {
    description: 'How many of them are left.',
    schema: { type: 'integer' },
    example: 5999,
  },
  'RateLimit-Reset': { description: 'When the minute is over, in seconds.', schema: { type: 'integer' }, example: 60 },
  'Retry-After': { description: 'When to ask again, in seconds.', schema: { type: 'integer' }, example: 10 },
  'WWW-Authenticate': {
    description: 'How to authenticate (RFC 6750).',
    schema: { type: 'string' },
    example: 'Bearer realm="musetalk-orchestrator", error="invalid_token"',
  },
} as const

export type HeaderName = keyof typeof HEADERS

/** What comes with every answer of a route that is limited (draft-ietf-httpapi-ratelimit-headers-03). */
export const RATE_LIMIT_HEADERS = ['RateLimit-Limit', 'RateLimit-Remaining', 'RateLimit-Reset'] as const

/** Header objects that point to the components of these names. */
export const headerRefs = (names: readonly HeaderName[]) =>
  Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]))
