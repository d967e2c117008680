import multipart from '@fastify/multipart'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { type FieldError, isProblem, problem } from '../../problems.ts'
import type { Upload, Uploads } from '../../jobs/ports/files.ts'
import { createFairSemaphore } from '../../lib/concurrency.ts'
import { expectProgress } from '../plugins/bodies.ts'
import { limitKeyOf } from '../plugins/auth.ts'
import { isReadAsStream, readForm } from './form.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Uploaded files that belong to no job yet. The handler that passes them on sets it to null. */
    upload: Upload | null
    /** The errors of a form's parts; null: the request is not a form. */
    formErrors: readonly FieldError[] | null
  }
}

export type UploadLimits = {
  /** Total size of the files of one request. */
  readonly maxUploadBytes: number
  /** Uploads received at the same time, shared fairly by the callers; beyond it a submit is 503. 0: no limit. */
  readonly maxUploads: number
  /** Size of one field that is not a file. */
  readonly bodyLimitBytes: number
}

export type UploadOptions = { readonly uploads: Pick<Uploads, 'create'>; readonly limits: UploadLimits }

/** Maximum size of fields and boundaries, in bytes. */
const OVERHEAD_BYTES = 1024 * 1024

/** How long a refused upload speeds up the others, in ms: longer than until their next check. */
const CONTENDED_MS = 60_000

/** More parts than any valid form has. */
const MAX_PARTS = 30

/**
 * Makes the routes of `app` accept multipart/form-data: fields become the body, as if they had come as JSON, and are
 * validated by the route's schema; files become `request.upload`. It applies to every route of its Fastify scope.
 */
export async function registerUploads(app: FastifyInstance, { uploads, limits }: UploadOptions): Promise<void> {
  const { maxUploads, maxUploadBytes, bodyLimitBytes } = limits
  await app.register(multipart, {
    // The total size of the files is limited where they are written.
    limits: { fieldSize: bodyLimitBytes, fileSize: Infinity, parts: MAX_PARTS },
    isPartAFile: isReadAsStream,
  })
  app.decorateRequest('upload', null)
  app.decorateRequest('formErrors', null)
  const slots = createFairSemaphore(maxUploads || Infinity)
  let contendedUntil = -Infinity
  const isContended = () => performance.now() < contendedUntil

  const acquireSlot = (request: FastifyRequest) => {
    const release = slots.tryAcquire(limitKeyOf(request))
    if (release) return release
    // A caller that already has its share does not make others hurry.
    if (slots.isFull) contendedUntil = performance.now() + CONTENDED_MS
    throw problem('overloaded', { detail: 'Too many uploads are being received.' })
  }

  const receiveForm = async (request: FastifyRequest) => {
    try {
      const { 'content-length': bytes = 0, 'content-type': type = '' } = request.headers
      if (Number(bytes) > maxUploadBytes + OVERHEAD_BYTES) {
        throw problem('body_too_large', {
          detail: `The files of one request may have ${maxUploadBytes} bytes in total.`,
        })
      }
      if (!HAS_BOUNDARY.test(type)) throw problem('invalid_multipart', { detail: NO_BOUNDARY })
      const release = acquireSlot(request)
      expectProgress(request.raw, { maxBytes: maxUploadBytes + OVERHEAD_BYTES, isContended })
      await receive(request, { uploads, maxFieldBytes: bodyLimitBytes }).finally(release)
    } catch (error) {
      throw refusalOf(error)
    }
  }

  // Callbacks, since most submits are JSON and need not wait for a promise.
  app.addHook('preValidation', (request, _reply, done) => {
    if (request.isMultipart()) receiveForm(request).then(() => done(), done)
    else done()
  })
  // Before the answer is sent: after a refusal no file is left.
  app.addHook('onError', async (request) => request.upload?.discard())
}

/** RFC 2046 5.1.1: without a boundary, the parts of a form cannot be separated. */
const HAS_BOUNDARY = /;\s*boundary\s*=\s*(?:"[^"]|[^\s";])/i
const NO_BOUNDARY =
  'The Content-Type says multipart/form-data without a boundary. Do not set the header yourself: your HTTP client sets it with the form.'

type FormOptions = { readonly uploads: UploadOptions['uploads']; readonly maxFieldBytes: number }

/** Reads the body to its end: its fields become the request's body, and its files `request.upload`. */
async function receive(request: FastifyRequest, { uploads, maxFieldBytes }: FormOptions): Promise<void> {
  const { socket } = request.raw
  const left = new AbortController()
  const abort = () => left.abort()
  socket.once('close', abort)
  const form = await readForm(request.parts(), {
    maxFieldBytes,
    async addFile(kind, bytes) {
      request.upload ??= await uploads.create({ caller: limitKeyOf(request), signal: left.signal })
      await request.upload.add(kind, bytes)
    },
  }).finally(() => socket.off('close', abort))
  request.body = form.body
  request.formErrors = form.errors
}

/** The parser's errors are the client's; those of the disk are not. */
function refusalOf(error: unknown): unknown {
  if (isProblem(error)) return error
  const isSystem = error instanceof Error && 'errno' in error
  return isSystem ? error : problem('invalid_multipart', { cause: error })
}
