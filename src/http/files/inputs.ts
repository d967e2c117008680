import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { problem } from '../../problems.ts'
import type { Uploads } from '../../jobs/ports/uploads.ts'
import { FILE_KINDS, type FileKind, type Job } from '../../jobs/job.ts'
import type { LinkSigner } from '../../jobs/links.ts'
import type { JobService } from '../../jobs/service.ts'
import { EMBEDDABLE } from '../plugins/browsers.ts'
import { callerOf } from '../plugins/caller.ts'
import { FileReply } from '../jobs/job-schema.ts'
import { InputParams, LinkQuery } from '../schemas/parameters.ts'
import { ProblemReply } from '../schemas/problem.ts'
import { prepareFile } from './send-file.ts'
import { isLink, jobOfLink } from '../plugins/signed-links.ts'
import type { Unsent } from '../plugins/unsent.ts'

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
      const ofLink = (): Promise<Job> => {
        if (kind === undefined) throw problem('link_invalid')
        return jobOfLink({ id, purpose: `input:${kind}` }, request.query, { links, service })
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
