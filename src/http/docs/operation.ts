import type { TObject } from '@sinclair/typebox'
import type { ProblemCode } from '../../problems.ts'
import type { HeaderName } from './headers.ts'

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
  events: 'Be told of changes instead of asking.',
  webhooks: 'Be told by signed requests, and see what became of them.',
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

/** By method and path as the route has it: `GET /jobs/:id`. */
export type Operations = Readonly<Record<string, Operation>>
