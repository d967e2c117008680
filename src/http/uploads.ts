import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { FILE_KINDS } from '../jobs/job.ts'
import { type LinkQuery, type LinkSigner, uploadLinkSubject } from '../jobs/links.ts'
import { type AheadUploads, parseUploadId, type SentFile } from '../jobs/ports/files.ts'
import type { UploadService } from '../jobs/uploads.ts'
import { formatTime } from '../jobs/view.ts'
import { invalidFields, problem } from '../problems.ts'
import type { Operation } from './docs/operation.ts'
import { UploadId } from './jobs/submit-schema.ts'
import type { UploadLimits, UploadSlots } from './jobs/uploads.ts'
import { callerOf, limitKeyOf } from './plugins/auth.ts'
import { expectProgress } from './plugins/bodies.ts'
import { Integer, NoQuery, OneOf, ProblemReply, Text, Time } from './schemas.ts'

const NewUpload = Type.Object(
  {
    kind: OneOf(FILE_KINDS, { description: 'The field of the submit that it is for.', examples: ['video'] }),
    size: Integer({ description: 'Of the file, in bytes.', example: 203_850, minimum: 1, maximum: 2 ** 40 }),
    type: Type.Optional(
      Text({
        description: 'Its media type, which is then sent with it. What the file is follows from its content only.',
        example: 'video/mp4',
        maxLength: 100,
        pattern: '^[\\w.+-]+/[\\w.+-]+$',
      }),
    ),
  },
  { $id: 'NewUpload', description: 'A file to be sent.', additionalProperties: false },
)

const URL_EXAMPLE =
  'https://s3.eu-central-1.amazonaws.com/musetalk/uploads/3q2-7wAAAAAAAAAAAAAAAA?X-Amz-Expires=3600&X-Amz-Signature=98ad'

const UploadReply = Type.Object(
  {
    upload_id: UploadId,
    method: OneOf(['PUT'], { description: 'How to send the file.', examples: ['PUT'] }),
    url: Text({
      description: 'Where to send it, without credentials: the URL is one.',
      example: URL_EXAMPLE,
      format: 'uri',
    }),
    headers: Type.Unsafe<Record<string, string>>({
      type: 'object',
      additionalProperties: { type: 'string', description: 'The value.', examples: ['203850'] },
      description: 'The headers to send it with, exactly. Browsers set `Content-Length` by themselves.',
      examples: [{ 'Content-Length': '203850', 'If-None-Match': '*' }],
    }),
    expires_at: Time({
      description: 'Until when the PUT has to have started.',
      example: '2026-01-31T13:00:00.000Z',
    }),
  },
  { $id: 'Upload', description: 'How to send a file.', additionalProperties: false },
)

const docs: Operation = {
  operationId: 'createUpload',
  tag: 'jobs',
  summary: 'Prepare the upload of a file',
  description:
    'Answers with a signed URL to which the client sends the file: of the bucket, if the server has one, else of this server. Then a submit in JSON names it: `"video": {"upload_id": "..."}`. A file can be in several jobs; it is removed after the last of them, or if no job has it within a day.',
  body: { video: { summary: 'A video', value: { kind: 'video', size: 203_850 } } },
  answers: {
    201: {
      description: 'Send the file now.',
      examples: {
        upload: {
          summary: 'To a bucket',
          value: {
            upload_id: (UploadId.examples as string[])[0],
            method: 'PUT',
            url: URL_EXAMPLE,
            headers: { 'Content-Length': '203850', 'If-None-Match': '*' },
            expires_at: '2026-01-31T13:00:00.000Z',
          },
        },
      },
    },
  },
  problems: ['body_too_large', 'uploads_limit_reached', 'uploads_need_public_url', 'uploads_need_shared_storage'],
}

const UploadParams = Type.Object({ id: UploadId })

const SendQuery = Type.Object(
  {
    expires: Text({ description: 'Of the signed link.', example: '1769864400', maxLength: 20 }),
    signature: Text({
      description: 'Of the signed link.',
      example: '2sJ0c3bq5u8VZk4m1xYw7dLr9aTnQeGhPfUoBiHyKtM',
      maxLength: 100,
    }),
  },
  { additionalProperties: false },
)

const sendDocs: Operation = {
  operationId: 'sendUpload',
  tag: 'jobs',
  summary: 'Send the file of an upload',
  description:
    'Takes the bytes of a file, at the URL that `POST /uploads` gave; the signature in it is all that it needs. It has no time limit while it makes progress. A file is sent once: after 412 it is there already.',
  answers: { 204: { description: 'The file is stored.' } },
  problems: [
    'link_invalid',
    'upload_rejected',
    'unsupported_media',
    'precondition_failed',
    'body_too_large',
    'storage_full',
  ],
}

export type UploadRoutesOptions = {
  readonly uploadService: Pick<UploadService, 'request'>
  readonly ahead: Pick<AheadUploads, 'receive'>
  readonly links: Pick<LinkSigner, 'verify'>
  readonly uploadSlots: UploadSlots
  readonly limits: Pick<UploadLimits, 'maxUploadBytes'>
}

/** `POST /uploads`, and the PUT of a file where the server keeps it itself. */
export const uploadRoutes: FastifyPluginAsyncTypebox<UploadRoutesOptions> = async (app, options) => {
  const { uploadService, ahead, links, uploadSlots, limits } = options

  app.post(
    '/uploads',
    {
      config: { access: 'jobs:write', bucket: 'submit', docs },
      schema: {
        body: NewUpload,
        querystring: NoQuery,
        response: { 201: UploadReply, '4xx': ProblemReply, '5xx': ProblemReply },
      },
    },
    async (request, reply) => {
      const { uploadId, url, headers, expiresAt } = await uploadService.request(request.body, callerOf(request))
      reply.code(201).header('cache-control', 'no-store')
      return { upload_id: uploadId, method: 'PUT' as const, url, headers, expires_at: formatTime(expiresAt) }
    },
  )

  const { receive } = ahead
  if (!receive) return
  // Any type: the content decides.
  await app.register((raw, _options, done) => {
    raw.removeAllContentTypeParsers()
    raw.addContentTypeParser('*', (_request, _body, parsed) => parsed(null))
    raw.put(
      '/uploads/:id',
      {
        config: { access: 'public', takesLinks: true, untimed: true, bucket: 'submit', docs: sendDocs },
        schema: {
          params: UploadParams,
          querystring: SendQuery,
          response: { 204: Type.Null(), '4xx': ProblemReply, '5xx': ProblemReply },
        },
      },
      async (request: FastifyRequest, reply) => {
        const file = fileOf(request, links)
        const length = request.headers['content-length']
        if (length !== undefined && Number(length) !== file.size) {
          const message = `has ${length} bytes, not the ${file.size} of its upload`
          throw invalidFields([{ path: `/${file.kind}`, message }], 'upload_rejected')
        }
        const release = uploadSlots.acquire(request)
        expectProgress(request.raw, { maxBytes: limits.maxUploadBytes, isContended: uploadSlots.isContended })
        const left = new AbortController()
        const abort = () => left.abort()
        request.raw.socket.once('close', abort)
        try {
          // The rest of a body that is refused is read and discarded: the client would miss the answer otherwise.
          const bytes = request.raw.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>
          await receive(file, bytes, { caller: limitKeyOf(request), signal: left.signal })
        } catch (error) {
          // The client has left. In the log this is no error of the server.
          throw left.signal.aborted ? problem('malformed_request', { cause: error, detail: CUT_OFF }) : error
        } finally {
          request.raw.socket.off('close', abort)
          release()
        }
        return reply.code(204).send()
      },
    )
    done()
  })
}

const CUT_OFF = 'The connection was closed before the file was complete.'

/** Throws `link_invalid`. */
function fileOf({ params, query }: FastifyRequest, links: Pick<LinkSigner, 'verify'>): SentFile {
  const { id } = params as { id: string }
  const file = parseUploadId(id)
  if (!file || !links.verify('upload:put', uploadLinkSubject(id), query as LinkQuery)) throw problem('link_invalid')
  return file
}
