import multipart from '@fastify/multipart'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { AppError, InvalidMultipart, InvalidRequest, Overloaded, UploadTooLarge } from '../errors.ts'
import type { Upload, Uploads } from '../inputs/port.ts'
import { FILE_KINDS, type FileKind } from '../jobs/job.ts'
import { expectProgress } from './arrival.ts'
import { NewJobBody } from './schemas/input.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Files that came with the request and are of no job yet; who takes them sets it to null. */
    upload: Upload | null
  }
}

export type UploadLimits = {
  /** The files of one request together. */
  readonly maxUploadBytes: number
  /** Uploads received at the same time; beyond them a submit is 503. 0: no limit. */
  readonly maxUploads: number
  /** One field that is no file. */
  readonly bodyLimitBytes: number
}

export type UploadParts = { readonly uploads: Pick<Uploads, 'begin'>; readonly limits: UploadLimits }

/** What a request may have beside its files, in bytes: fields, and what goes between the parts. */
const OVERHEAD_BYTES = 1024 * 1024

/**
 * Lets the routes of `app` take multipart/form-data: fields become the body, as if they had come as JSON, and are judged
 * by the route's schema; files become `request.upload`. Give it a scope of its own, whose other routes take the same.
 */
export async function registerUploads(app: FastifyInstance, { uploads, limits }: UploadParts): Promise<void> {
  const { maxUploads, maxUploadBytes, bodyLimitBytes } = limits
  await app.register(multipart, {
    // The size of files is counted over all of them, and where they are written.
    limits: { fieldSize: bodyLimitBytes, fileSize: Infinity, files: 10, fields: 20, parts: 30 },
  })
  app.decorateRequest('upload', null)
  let receiving = 0

  const take = async (request: FastifyRequest) => {
    try {
      if (maxUploads > 0 && receiving >= maxUploads) throw new Overloaded('Too many uploads are being received.')
      const bytes = Number(request.headers['content-length'] ?? 0)
      if (bytes > maxUploadBytes + OVERHEAD_BYTES) throw new UploadTooLarge(maxUploadBytes)
      expectProgress(request.raw, maxUploadBytes + OVERHEAD_BYTES)
      receiving++
      request.body = await receive(request, uploads).finally(() => receiving--)
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

/** Reads the body to its end: gives its fields, and puts its files into `request.upload`. */
async function receive(request: FastifyRequest, uploads: UploadParts['uploads']): Promise<Record<string, unknown>> {
  const fields: Record<string, unknown> = {}
  const seen = new Set<string>()
  for await (const part of request.parts()) {
    const { fieldname: name } = part
    const fault = faultOf(part.type, name, seen)
    if (fault !== undefined) throw new InvalidRequest([{ path: `/${name}`, message: fault }])
    seen.add(name)
    if (part.type === 'file') {
      request.upload ??= await uploads.begin()
      await request.upload.add(name as FileKind, part.file)
    } else if (part.valueTruncated) throw new InvalidRequest([{ path: `/${name}`, message: 'is too long' }])
    else fields[name] = valueOf(name, textOf(part.value))
  }
  return fields
}

const FIELDS = Object.keys(NewJobBody.properties)
const isKind = (name: string) => (FILE_KINDS as readonly string[]).includes(name)

function faultOf(type: 'file' | 'field', name: string, seen: ReadonlySet<string>): string | undefined {
  if (seen.has(name)) return 'is given twice'
  if (isKind(name)) return type === 'file' ? undefined : 'must be a file'
  if (!FIELDS.includes(name)) return type === 'file' ? 'unknown file' : 'unknown field'
  return type === 'file' ? 'must not be a file' : undefined
}

/** Fields that are no text and no number. A list of events may also be written with commas. */
const AS_JSON = new Set(['metadata', 'webhook_events'])

/** A part that says it is JSON has been read as such already. */
const textOf = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value))

/** As in a body that is JSON: however it is spelled, this is no key. */
function refusePrototype(key: string, value: unknown): unknown {
  if (key === '__proto__') throw new SyntaxError('a key that is not allowed')
  return value
}

/** Text as the field's own type, where it is written as one; what is not stays text, and is refused as such. */
function valueOf(name: string, text: string): unknown {
  if (name === 'timeout_seconds' && /^\d{1,15}$/.test(text)) return Number(text)
  if (name === 'webhook_events' && !text.startsWith('[')) return text.split(',').map((event) => event.trim())
  if (!AS_JSON.has(name)) return text
  try {
    return JSON.parse(text, refusePrototype)
  } catch {
    return text
  }
}

/** Of errors of the parser only what a caller can mend is of interest; those of the disk are not its business. */
function refusalOf(error: unknown): unknown {
  if (error instanceof AppError) return error
  const isSystem = error instanceof Error && 'errno' in error
  return isSystem ? error : new InvalidMultipart({ cause: error })
}
