import { extname } from 'node:path'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import type { Artifacts } from '../../jobs/ports/outputs.ts'
import type { LinkSigner } from '../../jobs/links.ts'
import type { JobService } from '../../jobs/service.ts'
import { EMBEDDABLE } from '../plugins/browsers.ts'
import { callerOf } from '../plugins/caller.ts'
import { VideoReply } from '../jobs/job-schema.ts'
import { JobParams, OutputQuery } from '../schemas/parameters.ts'
import { ProblemReply } from '../schemas/problem.ts'
import { prepareFile } from './send-file.ts'
import { isLink, jobOfLink, LINK_HOLDER } from '../plugins/signed-links.ts'
import type { Unsent } from '../plugins/unsent.ts'

export type OutputParts = {
  readonly service: JobService
  readonly artifacts: Pick<Artifacts, 'open'>
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

/** `GET /jobs/:id/output`: the video, for its owner or whoever has a signed link. */
export const outputRoutes: FastifyPluginAsyncTypebox<OutputParts> = (app, { service, artifacts, links, unsent }) => {
  const outputJobOf = async (request: OutputRequest) => {
    const { id } = request.params
    if (!isLink(request)) return service.result(id, callerOf(request))
    await jobOfLink({ id, purpose: 'output' }, request.query, { links, service })
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
      const output = await artifacts.open(job, { method, contentType, filename })
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
