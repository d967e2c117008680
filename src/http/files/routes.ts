import { extname } from 'node:path'
import type { Readable } from 'node:stream'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { FILE_KINDS, type FileKind, type Job } from '../../jobs/job.ts'
import type { LinkSigner } from '../../jobs/links.ts'
import { type AheadUploads, contentTypeOf, type Outputs, type Uploads } from '../../jobs/ports/files.ts'
import type { JobService } from '../../jobs/service.ts'
import { problem } from '../../problems.ts'
import type { Operation } from '../docs/operation.ts'
import { JobId, JobParams } from '../jobs/job-schema.ts'
import { EMBEDDABLE } from '../plugins/browsers.ts'
import { callerOf, isLink, jobOfLink, LINK_HOLDER } from '../plugins/auth.ts'
import type { Unsent } from '../plugins/open-answers.ts'
import { OneOf, ProblemReply, Text } from '../schemas.ts'
import { prepareFile } from './send-file.ts'

const LinkParameters = {
  expires: Type.Optional(
    Text({
      description: 'Of a signed link: when it expires, in seconds since 1970.',
      example: '1769864400',
      maxLength: 20,
    }),
  ),
  signature: Type.Optional(
    Text({
      description: 'Of a signed link.',
      example: '2sJ0c3bq5u8VZk4m1xYw7dLr9aTnQeGhPfUoBiHyKtM',
      maxLength: 100,
    }),
  ),
}

/** Query of `GET /jobs/:id/output`. */
const OutputQuery = Type.Object(
  {
    download: Type.Optional(
      OneOf(['0', '1'], { description: '`1`: as a download, not for display.', examples: ['1'] }),
    ),
    ...LinkParameters,
  },
  { additionalProperties: false },
)

/** A video, or a part of one. */
const VideoReply = Type.Unsafe<Readable>({
  content: { 'video/mp4': { schema: { type: 'string', format: 'binary', description: 'The bytes.' } } },
})

const FILE_HEADERS = ['ETag', 'Last-Modified', 'Accept-Ranges'] as const

/** Counts the memory that sending a file takes. */
const countOf = (request: FastifyRequest, reply: FastifyReply, unsent: Unsent) => (bytes: number) => {
  unsent.admit(request)
  unsent.count(request, reply, bytes)
}

const outputDocs: Operation = {
  operationId: 'getOutput',
  tag: 'jobs',
  summary: 'Get the video',
  description:
    'The video of a job that succeeded, whole or as a single `Range`, with conditional requests. With the `expires` and `signature` of `output_url` it needs no credential.',
  answers: {
    200: { description: 'The video.', headers: [...FILE_HEADERS, 'Content-Disposition'] },
    206: { description: 'The requested range.', headers: [...FILE_HEADERS, 'Content-Range'] },
    302: { description: 'The video is at another address, which expires soon.', headers: ['Location'] },
  },
  problems: [
    'job_not_found',
    'job_not_finished',
    'job_failed',
    'job_canceled',
    'link_invalid',
    'range_not_satisfiable',
    'precondition_failed',
    'output_unavailable',
  ],
}

export type OutputRoutesOptions = {
  readonly service: JobService
  readonly outputs: Pick<Outputs, 'open'>
  readonly links: LinkSigner
  readonly unsent: Unsent
}

type OutputRequest = FastifyRequest<{ Params: Static<typeof JobParams>; Querystring: Static<typeof OutputQuery> }>

/** `GET /jobs/:id/output`: the video, for its owner or the holder of a signed link. */
export const outputRoutes: FastifyPluginAsyncTypebox<OutputRoutesOptions> = (
  app,
  { service, outputs, links, unsent },
) => {
  const outputJobOf = async (request: OutputRequest) => {
    const { id } = request.params
    if (!isLink(request)) return service.result(id, callerOf(request))
    unsent.admitLink(request, await jobOfLink({ id, purpose: 'output' }, request.query, { links, service }))
    return service.result(id, LINK_HOLDER)
  }

  app.get(
    '/jobs/:id/output',
    {
      config: { access: 'jobs:read', takesLinks: true, untimed: true, docs: outputDocs },
      schema: {
        params: JobParams,
        querystring: OutputQuery,
        response: { 200: VideoReply, 206: VideoReply, 302: Type.Null(), '4xx': ProblemReply, '5xx': ProblemReply },
      },
    },
    async (request, reply) => {
      const job = await outputJobOf(request)
      const extension = extname(job.outputPath).toLowerCase()
      const contentType = contentTypeOf(job.outputPath)
      const filename = request.query.download === '1' ? `${job.id}${extension.replace(/[^.\w]/g, '')}` : undefined
      const method = request.method === 'HEAD' ? 'HEAD' : 'GET'
      const output = await outputs.open(job, { method, contentType, filename })
      // The target of the redirect expires.
      if (output.kind === 'redirect') return reply.header('cache-control', 'no-store').redirect(output.url, 302)

      const video = await prepareFile(request, reply, { ...output, count: countOf(request, reply, unsent) })
      // A browser revalidates each time, at the cost of a 304, so that a removed job or an expired link counts at once.
      reply.headers(EMBEDDABLE)
      if (reply.statusCode !== 304) reply.type(contentType)
      if (filename !== undefined) reply.header('content-disposition', `attachment; filename="${filename}"`)
      return reply.send(video)
    },
  )
  return Promise.resolve()
}

/** Path of `GET /jobs/:id/inputs/:kind`. An unknown kind is 404, like one that the job does not have. */
const InputParams = Type.Object({
  id: JobId,
  kind: Text({ description: 'Which file: `video`, `image` or `audio`.', example: 'video' }),
})

/** Query of a route that has no parameters but those of a signed link. */
const LinkQuery = Type.Object(LinkParameters, { additionalProperties: false })

/** An uploaded file, or a part of it. */
const FileReply = Type.Unsafe<Readable>({
  content: { '*/*': { schema: { type: 'string', format: 'binary', description: 'The bytes.' } } },
})

const inputDocs: Operation = {
  operationId: 'getInput',
  tag: 'jobs',
  summary: 'Get an uploaded file',
  description:
    'A file that was uploaded with the job, whole or as a single `Range`, with conditional requests. The function fetches it by a signed link (`expires`, `signature`), which needs no credential.',
  answers: {
    200: { description: 'The file.', headers: FILE_HEADERS },
    206: { description: 'The requested range.', headers: [...FILE_HEADERS, 'Content-Range'] },
    302: { description: 'The file is at another address, which expires soon.', headers: ['Location'] },
  },
  problems: [
    'job_not_found',
    'input_not_found',
    'upload_store_unavailable',
    'link_invalid',
    'range_not_satisfiable',
    'precondition_failed',
    'output_unavailable',
  ],
}

export type InputRoutesOptions = {
  readonly service: JobService
  readonly uploads: Pick<Uploads, 'locate'>
  readonly ahead: Pick<AheadUploads, 'linkTo'>
  readonly links: LinkSigner
  readonly unsent: Unsent
}

/** How long a link to a file in the bucket is valid, in seconds. */
const REDIRECT_SECONDS = 300

const kindNamed = (name: string): FileKind | undefined => FILE_KINDS.find((kind) => kind === name)

/** `GET /jobs/:id/inputs/:kind`: an uploaded file, for its owner or for the function, which has a signed link. */
export const inputRoutes: FastifyPluginAsyncTypebox<InputRoutesOptions> = (
  app,
  { service, uploads, ahead, links, unsent },
) => {
  app.get(
    '/jobs/:id/inputs/:kind',
    {
      config: { access: 'jobs:read', takesLinks: true, untimed: true, docs: inputDocs },
      schema: {
        params: InputParams,
        querystring: LinkQuery,
        response: { 200: FileReply, 206: FileReply, 302: Type.Null(), '4xx': ProblemReply, '5xx': ProblemReply },
      },
    },
    async (request, reply) => {
      const { id } = request.params
      const kind = kindNamed(request.params.kind)
      const ofLink = async (): Promise<Job> => {
        if (kind === undefined) throw problem('link_invalid')
        const job = await jobOfLink({ id, purpose: `input:${kind}` }, request.query, { links, service })
        unsent.admitLink(request, job)
        return job
      }
      const job = isLink(request) ? await ofLink() : await service.get(id, callerOf(request))
      const file = kind && job.input[kind]
      if (!kind || !file) throw problem('input_not_found')
      if (file.object) {
        const method = request.method === 'HEAD' ? 'HEAD' : 'GET'
        const link = { method, contentType: file.type, ttlSeconds: REDIRECT_SECONDS } as const
        const url = await ahead.linkTo(file.object, link)
        if (url === undefined) throw problem('input_not_found')
        return reply.header('cache-control', 'no-store').redirect(url, 302)
      }
      const path = await uploads.locate(id, kind)
      const content = await prepareFile(request, reply, {
        path,
        release: () => undefined,
        count: countOf(request, reply, unsent),
      })
      reply.headers(EMBEDDABLE)
      // Detected from its content; never one that a browser would execute.
      if (reply.statusCode !== 304) reply.type(file.type)
      return reply.send(content)
    },
  )
  return Promise.resolve()
}
