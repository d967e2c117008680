import type { FastifyInstance, FastifyPluginAsync, FastifyRequest, RouteOptions } from 'fastify'
import { Type } from '@sinclair/typebox'
import { docsPageRoutes } from './page.ts'
import type { OpenApi } from './document.ts'
import { NoQuery, ProblemReply } from '../schemas.ts'

/** Gathers every route as it is added; call it before the first, and read what it returns after the last. */
export function collectRoutes(app: FastifyInstance): readonly RouteOptions[] {
  const routes: RouteOptions[] = []
  app.addHook('onRoute', (route) => void routes.push(route))
  return routes
}

export type DocsParts = {
  readonly routes: readonly RouteOptions[]
  /** Whether the server asks for credentials. */
  readonly authenticated: boolean
  /** Whether anybody may read, or any valid credential is asked for. */
  readonly isPublic: boolean
  /** Where callers reach the server, without a slash at its end; undefined: where each request has. */
  readonly publicUrl: string | undefined
}

/**
 * `GET /openapi.json`: the reference, and `GET /docs`, its page. What makes them is loaded when somebody first asks:
 * most servers are never asked.
 */
export const docsRoutes: FastifyPluginAsync<DocsParts> = async (app, { isPublic, publicUrl, ...server }) => {
  const config = { access: isPublic ? 'public' : 'authenticated' } as const
  let document: OpenApi | undefined

  app.get(
    '/openapi.json',
    { config, schema: { querystring: NoQuery, response: { 200: Document, '4xx': ProblemReply } } },
    async (request, reply) => {
      const { addressedTo, describeServer } = await import('./document.ts')
      document ??= await describeServer(server)
      const addressed = addressedTo(document, publicUrl ?? urlOf(request))
      return reply.type('application/json; charset=utf-8').send(JSON.stringify(addressed))
    },
  )
  await app.register(docsPageRoutes, config)
}

/** Where the client has reached this server, as far as its request says so; else empty. */
const urlOf = ({ protocol, host }: FastifyRequest): string => URL.parse(`${protocol}://${host}`)?.origin ?? ''

const Document = Type.Unsafe<string>({
  type: 'object',
  description: 'An OpenAPI document.',
  additionalProperties: true,
  examples: [{ openapi: '3.1.1' }],
})
