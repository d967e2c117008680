import multipart from '@fastify/multipart'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { type FieldError, isProblem, problem } from '../../problems.ts'
import type { Upload, Uploads } from '../../jobs/ports/files.ts'
import { createFairSemaphore } from '../../lib/semaphore.ts'
import { expectProgress } from '../plugins/bodies.ts'
import { limitKeyOf } from '../plugins/caller.ts'
import { comesAsStream, readForm } from './form.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Files that came with the request and are of no job yet; who takes them sets it to null. */
    upload: Upload | null
    /** What is wrong with the parts of a form; null: the request is none. */
    formErrors: readonly FieldError[] | null
  }
}

export type UploadLimits = {
  /** The files of one request together. */
  readonly maxUploadBytes: number
  /** Uploads received at the same time, of which one caller has its share; beyond them a submit is 503. 0: no limit. */
  readonly maxUploads: number
  /** One field that is no file. */
  readonly bodyLimitBytes: number
}

export type UploadParts = { readonly uploads: Pick<Uploads, 'create'>; readonly limits: UploadLimits }

/** What a request may have beside its files, in bytes: fields, and what goes between the parts. */
const OVERHEAD_BYTES = 1024 * 1024

/** How long an upload that was refused for want of places makes the others hurry, in ms: beyond their next check. */
const CONTENDED_MS = 60_000

/** More than a form can have that is in order: every field comes once. */
const MAX_PARTS = 30

/**
 * Lets the routes of `app` take multipart/form-data: fields become the body, as if they had come as JSON, and are judged
 * by the route's schema; files become `request.upload`. Give it a scope of its own, whose other routes take the same.
 */
export async function registerUploads(app: FastifyInstance, { uploads, limits }: UploadParts): Promise<void> {
  const { maxUploads, maxUploadBytes, bodyLimitBytes } = limits
  await app.register(multipart, {
    // The size of files is counted over all of them, and where they are written.
    limits: { fieldSize: bodyLimitBytes, fileSize: Infinity, parts: MAX_PARTS },
    isPartAFile: comesAsStream,
  })
  app.decorateRequest('upload', null)
  app.decorateRequest('formErrors', null)
  const places = createFairSemaphore(maxUploads || Infinity)
  let contendedUntil = -Infinity
  const isContended = () => performance.now() < contendedUntil

  const acquirePlace = (request: FastifyRequest) => {
    const release = places.tryAcquire(limitKeyOf(request))
    if (release) return release
    // A caller that has its share already makes nobody hurry.
    if (places.isFull) contendedUntil = performance.now() + CONTENDED_MS
    throw problem('overloaded', { detail: 'Too many uploads are being received.' })
  }

  const take = async (request: FastifyRequest) => {
    try {
      const { 'content-length': bytes = 0, 'content-type': type = '' } = request.headers
      if (Number(bytes) > maxUploadBytes + OVERHEAD_BYTES) {
        throw problem('body_too_large', {
          detail: `The files of one request may have ${maxUploadBytes} bytes in total.`,
        })
      }
      if (!HAS_BOUNDARY.test(type)) throw problem('invalid_multipart', { detail: NO_BOUNDARY })
      const release = acquirePlace(request)
      expectProgress(request.raw, { maxBytes: maxUploadBytes + OVERHEAD_BYTES, isContended })
      await receive(request, { uploads, maxFieldBytes: bodyLimitBytes }).finally(release)
    } catch (error) {
      throw refusalOf(error)
    }
  }

  // A submit in JSON, which most are, is not to wait for a turn of promises.
  app.addHook('preValidation', (request, _reply, done) => {
    if (request.isMultipart()) take(request).then(() => done(), done)
    else done()
  })
  // Before the answer goes out: who is refused can be sure that nothing is left.
  app.addHook('onError', async (request) => request.upload?.discard())
}

/** RFC 2046 5.1.1: a form without a boundary has no parts that anybody could tell apart. */
const HAS_BOUNDARY = /;\s*boundary\s*=\s*(?:"[^"]|[^\s";])/i
const NO_BOUNDARY =
  'The Content-Type says multipart/form-data without a boundary. Do not set the header yourself: what makes the form sets it.'

type Receiving = { readonly uploads: UploadParts['uploads']; readonly maxFieldBytes: number }

/** Reads the body to its end: its fields become the request's body, and its files `request.upload`. */
async function receive(request: FastifyRequest, { uploads, maxFieldBytes }: Receiving): Promise<void> {
  const form = await readForm(request.parts(), {
    maxFieldBytes,
    async takeFile(kind, bytes) {
      request.upload ??= await uploads.create()
      await request.upload.add(kind, bytes)
    },
  })
  request.body = form.body
  request.formErrors = form.errors
}

/** Of errors of the parser only what a caller can mend is of interest; those of the disk are not its business. */
function refusalOf(error: unknown): unknown {
  if (isProblem(error)) return error
  const isSystem = error instanceof Error && 'errno' in error
  return isSystem ? error : problem('invalid_multipart', { cause: error })
}
