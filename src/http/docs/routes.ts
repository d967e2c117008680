import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { createGunzip } from 'node:zlib'
import helmet from '@fastify/helmet'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { FastifyContextConfig, FastifyInstance, FastifyPluginAsync, FastifyRequest, RouteOptions } from 'fastify'
import { createOnce } from '../../lib/concurrency.ts'
import { NoQuery, ProblemReply } from '../schemas.ts'
import type { OpenApi } from './document.ts'
import type { Operation } from './operation.ts'
import { HtmlReply, ICON } from './problems.ts'

/** Collects every route as it is added. Call it before the first route; the list is complete after the last. */
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
    summary: 'This document as a page',
    description: 'A page that shows the reference and sends requests. It loads nothing from other servers.',
    answers: { 200: { description: 'The page.' } },
  },
}

export type DocsRoutesOptions = {
  readonly routes: readonly RouteOptions[]
  /** Whether the server requires credentials. */
  readonly authenticated: boolean
  /** Whether the reference is public; otherwise it needs any valid credential. */
  readonly isPublic: boolean
  /** Whether the console is served. */
  readonly console: boolean
  /** The URL of the server for callers, without a final slash; undefined: that of each request. */
  readonly publicUrl: string | undefined
}

/**
 * `GET /openapi.json`: the reference, and `GET /docs`, its page. Their libraries are loaded on the first request: most
 * servers never get one.
 */
export const docsRoutes: FastifyPluginAsync<DocsRoutesOptions> = async (app, options) => {
  const { isPublic, publicUrl, ...server } = options
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
  await app.register(docsPageRoutes, { ...config, console: options.console })
}

/** The URL under which the client reached this server; empty if the request does not show it. */
const urlOf = ({ protocol, host }: FastifyRequest): string => URL.parse(`${protocol}://${host}`)?.origin ?? ''

/** The bar of the console, with the way back to it; Scalar leaves room for one of this height. */
const BAR = `
    <style>
      :root { --scalar-custom-header-height: 48px; }
      .console-bar { box-sizing: border-box; height: 48px; padding: 0 16px; display: flex; gap: 20px; align-items: center;
        position: sticky; top: 0; z-index: 10; font: 14px system-ui, sans-serif; background: var(--scalar-background-1);
        color: var(--scalar-color-1); border-bottom: 1px solid var(--scalar-border-color); }
      .console-bar a { color: inherit; }
    </style>
    <nav class="console-bar"><strong>MuseTalk Orchestrator</strong><a href="./">Console</a></nav>`

// Relative URLs, so that the page also works behind a proxy that serves this server under a path.
const pageWith = (console: boolean) => `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>MuseTalk Orchestrator</title>
    <link rel="icon" href="${ICON}" />
  </head>
  <body>${console ? BAR : ''}
    <div id="reference"></div>
    <script src="docs/scalar.js"></script>
    <script src="docs/start.js"></script>
  </body>
</html>
`

/** Scalar's features that would load fonts, or send the document to its vendor on a click, are off. */
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
  // If the server requires a credential, the page shows a field for one at once.
  authentication: { preferredSecurityScheme: 'bearer' },
}

/** The page sends requests to where it was loaded from, also under a path of a proxy. */
const START = `const settings = ${JSON.stringify(SETTINGS)}
settings.servers = [{ url: new URL('.', location.href).href.replace(/[/]$/, ''), description: 'This server.' }]
Scalar.createApiReference('#reference', settings)
`

/** Scripts on the page can reach this server only. Its styles come from the script. */
const HEADERS = {
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'"],
      styleSrc: ["'unsafe-inline'"],
      // It shows fetched files from memory.
      imgSrc: ["'self'", 'data:', 'blob:'],
      mediaSrc: ['blob:'],
      connectSrc: ["'self'"],
      baseUri: ["'none'"],
      formAction: ["'none'"],
      frameAncestors: ["'none'"],
    },
  },
  xFrameOptions: { action: 'deny' } as const,
  // Only the proxy knows whether the host always has https, and the header would bind its other pages too.
  strictTransportSecurity: false,
  // Over plain http browsers ignore both, and log a warning.
  crossOriginOpenerPolicy: false,
  originAgentCluster: false,
}

/** `GET /docs`: the reference as a page, by Scalar. */
const docsPageRoutes: FastifyPluginAsyncTypebox<
  Required<Pick<FastifyContextConfig, 'access'>> & Pick<DocsRoutesOptions, 'console'>
> = async (app, { access, console }) => {
  await app.register(helmet, HEADERS)
  const hidden = { config: { access }, schema: { hide: true, querystring: NoQuery } }
  const script = createScriptLoader()

  app.get(
    '/docs',
    {
      config: { access, docs: docs.page },
      schema: { querystring: NoQuery, response: { 200: HtmlReply, '4xx': ProblemReply } },
    },
    async (request, reply) => {
      // With a final slash, the page would look for its scripts one folder too deep.
      const slashes = /\/+$/.exec(request.url.split('?', 1)[0] ?? '')?.[0].length ?? 0
      if (slashes > 0) return reply.redirect(`${'../'.repeat(slashes)}docs`, 302)
      return reply.type('text/html; charset=utf-8').send(pageWith(console))
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

/** How long loading the script may take, in ms. It takes about one second. */
const LOAD_TIMEOUT_MS = 60_000
const MAX_SCRIPT_BYTES = 16 * 1024 * 1024

/** Scalar's script, compressed: loaded on the first request, and again after a failure. */
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
