import { extname } from 'node:path'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { FILE_KINDS, type FileKind, type Job } from '../../jobs/job.ts'
import type { LinkSigner } from '../../jobs/links.ts'
import type { Outputs, Uploads } from '../../jobs/ports/files.ts'
import type { JobService } from '../../jobs/service.ts'
import { problem } from '../../problems.ts'
import { FileReply, VideoReply } from '../jobs/job-schema.ts'
import { InputParams, JobParams, LinkQuery, OutputQuery } from '../jobs/parameters.ts'
import { EMBEDDABLE } from '../plugins/browsers.ts'
import { callerOf, isLink, jobOfLink, LINK_HOLDER } from '../plugins/caller.ts'
import type { Unsent } from '../plugins/unsent.ts'
import { ProblemReply } from '../schemas.ts'
import { prepareFile } from './send-file.ts'

export type OutputParts = {
  readonly service: JobService
  readonly outputs: Pick<Outputs, 'open'>
  readonly links: LinkSigner
  readonly unsent: Unsent
}

type OutputRequest = FastifyRequest<{ Params: Static<typeof JobParams>; Querystring: Static<typeof OutputQuery> }>

/** By extension, and nothing that a browser would run. */
const CONTENT_TYPES: Readonly<Record<string, string>> = {
  '.mp4': 'video/mp4',
  '.mov': 'video/quicktime',
  '.webm': 'video/webm',
  '.mkv': 'video/x-matroska',
}

/** `GET /jobs/:id/output`: the video, for its owner or the holder of a signed link. */
export const outputRoutes: FastifyPluginAsyncTypebox<OutputParts> = (app, { service, outputs, links, unsent }) => {
  const outputJobOf = async (request: OutputRequest) => {
    const { id } = request.params
    if (!isLink(request)) return service.result(id, callerOf(request))
    unsent.admitLink(request, await jobOfLink({ id, purpose: 'output' }, request.query, { links, service }))
    return service.result(id, LINK_HOLDER)
  }

  app.get(
    '/jobs/:id/output',
    {
      config: { access: 'jobs:read', takesLinks: true, untimed: true },
      schema: {
        params: JobParams,
        querystring: OutputQuery,
        response: { 200: VideoReply, 206: VideoReply, 302: Type.Null(), '4xx': ProblemReply, '5xx': ProblemReply },
      },
    },
    async (request, reply) => {
      const job = await outputJobOf(request)
      const extension = extname(job.outputPath).toLowerCase()
      const contentType = CONTENT_TYPES[extension] ?? 'application/octet-stream'
      const filename = request.query.download === '1' ? `${job.id}${extension.replace(/[^.\w]/g, '')}` : undefined
      const method = request.method === 'HEAD' ? 'HEAD' : 'GET'
      const output = await outputs.open(job, { method, contentType, filename })
      // What the redirect names expires.
      if (output.kind === 'redirect') return reply.header('cache-control', 'no-store').redirect(output.url, 302)

      const video = await prepareFile(request, reply, { ...output, unsent })
      // A browser asks again each time, which costs a 304, so that a job that is removed or a link that has expired is so at once.
      reply.headers(EMBEDDABLE)
      if (reply.statusCode !== 304) reply.type(contentType)
      if (filename !== undefined) reply.header('content-disposition', `attachment; filename="${filename}"`)
      return reply.send(video)
    },
  )
  return Promise.resolve()
}

export type InputParts = {
  readonly service: JobService
  readonly uploads: Pick<Uploads, 'locate'>
  readonly links: LinkSigner
  readonly unsent: Unsent
}

const kindNamed = (name: string): FileKind | undefined => FILE_KINDS.find((kind) => kind === name)

/** `GET /jobs/:id/inputs/:kind`: a file that came with the job, for its owner or for the function, which has a link. */
export const inputRoutes: FastifyPluginAsyncTypebox<InputParts> = (app, { service, uploads, links, unsent }) => {
  app.get(
    '/jobs/:id/inputs/:kind',
    {
      config: { access: 'jobs:read', takesLinks: true, untimed: true },
      schema: {
        params: InputParams,
        querystring: LinkQuery,
        response: { 200: FileReply, 206: FileReply, '4xx': ProblemReply, '5xx': ProblemReply },
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
      const path = await uploads.locate(id, kind)
      const content = await prepareFile(request, reply, { path, release: () => undefined, unsent })
      reply.headers(EMBEDDABLE)
      // By its content, and nothing that a browser would run.
      if (reply.statusCode !== 304) reply.type(file.type)
      return reply.send(content)
    },
  )
  return Promise.resolve()
}
