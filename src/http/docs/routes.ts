import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { createGunzip } from 'node:zlib'
import helmet from '@fastify/helmet'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { FastifyContextConfig, FastifyInstance, FastifyPluginAsync, FastifyRequest, RouteOptions } from 'fastify'
import { createOnce } from '../../lib/single-flight.ts'
import { NoQuery, ProblemReply } from '../schemas.ts'
import type { OpenApi } from './document.ts'
import type { Operation } from './operation.ts'

/** Gathers every route as it is added; call it before the first, and read what it returns after the last. */
export function collectRoutes(app: FastifyInstance): readonly RouteOptions[] {
  const routes: RouteOptions[] = []
  app.addHook('onRoute', (route) => void routes.push(route))
  return routes
}

const Document = Type.Unsafe<string>({
  type: 'object',
  description: 'An OpenAPI document.',
  additionalProperties: true,
  examples: [{ openapi: '3.1.1' }],
})

const docs: Record<'document' | 'page', Operation> = {
  document: {
    operationId: 'getReference',
    tag: 'reference',
    summary: 'This document',
    description: 'The reference of this server, as OpenAPI 3.1.',
    answers: { 200: { description: 'The document.' } },
  },

  page: {
    operationId: 'readReference',
    tag: 'reference',
    summary: 'This document, to read',
    description: 'A page that shows the reference and sends requests. It loads nothing from anywhere else.',
    answers: { 200: { description: 'The page.' } },
  },
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
    {
      config: { ...config, docs: docs.document },
      schema: { querystring: NoQuery, response: { 200: Document, '4xx': ProblemReply } },
    },
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

// Relative, so that the page also works behind a proxy that serves the server under a path.
const PAGE = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>MuseTalk Orchestrator</title>
    <link rel="icon" href="data:," />
  </head>
  <body>
    <div id="reference"></div>
    <script src="docs/scalar.js"></script>
    <script src="docs/start.js"></script>
  </body>
</html>
`

/** Scalar as a plain reader: what would load fonts or send the document to its makers on a click is off. */
const SETTINGS = {
  url: 'openapi.json',
  withDefaultFonts: false,
  telemetry: false,
  agent: { disabled: true },
  mcp: { disabled: true },
  hideClientButton: true,
  showDeveloperTools: 'never',
  proxyUrl: '',
  orderSchemaPropertiesBy: 'preserve',
  // Where the server asks for a credential, there is a field for one from the start.
  authentication: { preferredSecurityScheme: 'bearer' },
}

/** Requests of the page go to where it was loaded from, whatever path a proxy serves the server under. */
const START = `const settings = ${JSON.stringify(SETTINGS)}
settings.servers = [{ url: new URL('.', location.href).href.replace(/[/]$/, ''), description: 'This server.' }]
Scalar.createApiReference('#reference', settings)
`

/** The page talks to this server alone, whatever a script on it tries. Its styles come from the script. */
const HEADERS = {
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'"],
      styleSrc: ["'unsafe-inline'"],
      // What it has fetched, it shows from memory.
      imgSrc: ["'self'", 'data:', 'blob:'],
      mediaSrc: ['blob:'],
      connectSrc: ["'self'"],
      baseUri: ["'none'"],
      formAction: ["'none'"],
      frameAncestors: ["'none'"],
    },
  },
  xFrameOptions: { action: 'deny' } as const,
  // Whether a host is always reached by https is for its proxy to say, and would bind its other pages too.
  strictTransportSecurity: false,
  // Over plain http browsers ignore both, and complain of it.
  crossOriginOpenerPolicy: false,
  originAgentCluster: false,
}

const Page = Type.Unsafe<string>({
  content: {
    'text/html': {
      schema: { type: 'string', description: 'The page.', examples: ['<!doctype html>'] },
    },
  },
})

/** `GET /docs`: the reference as a page, by Scalar. `access` says who may see it. */
const docsPageRoutes: FastifyPluginAsyncTypebox<Required<Pick<FastifyContextConfig, 'access'>>> = async (
  app,
  { access },
) => {
  await app.register(helmet, HEADERS)
  const hidden = { config: { access }, schema: { hide: true, querystring: NoQuery } }
  const script = createScriptLoader()

  app.get(
    '/docs',
    {
      config: { access, docs: docs.page },
      schema: { querystring: NoQuery, response: { 200: Page, '4xx': ProblemReply } },
    },
    async (request, reply) => {
      // With a slash at its end the path would be a folder, in which the page looks for its scripts.
      const slashes = /\/+$/.exec(request.url.split('?', 1)[0] ?? '')?.[0].length ?? 0
      if (slashes > 0) return reply.redirect(`${'../'.repeat(slashes)}docs`, 302)
      return reply.type('text/html; charset=utf-8').send(PAGE)
    },
  )
  app.get('/docs/start.js', hidden, async (_request, reply) => reply.type(JAVASCRIPT).send(START))
  app.get('/docs/scalar.js', hidden, async (request, reply) => {
    const compressed = await script()
    reply.type(JAVASCRIPT).headers({ 'cache-control': 'private, max-age=3600', vary: 'accept-encoding' })
    if (/\bgzip\b/.test(request.headers['accept-encoding'] ?? '')) {
      return reply.header('content-encoding', 'gzip').send(compressed)
    }
    const plain = createGunzip()
    plain.end(compressed)
    return reply.send(plain)
  })
}

const JAVASCRIPT = 'text/javascript; charset=utf-8'

/** How long the script may take to come, in ms. It takes about one second. */
const LOAD_TIMEOUT_MS = 60_000
const MAX_SCRIPT_BYTES = 16 * 1024 * 1024

/** Scalar's script, compressed: loaded when first asked for, and again after a failure. */
function createScriptLoader(): () => Promise<Buffer> {
  const run = promisify(execFile)
  const limits = { timeout: LOAD_TIMEOUT_MS, maxBuffer: MAX_SCRIPT_BYTES }
  const load = async () => {
    const path = fileURLToPath(new URL('./script.ts', import.meta.url))
    const { stdout } = await run(process.execPath, [path], { ...limits, encoding: 'buffer', env: {} })
    return stdout
  }
  return createOnce(load).get
}
