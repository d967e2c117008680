import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gunzipSync, gzipSync } from 'node:zlib'
import helmet from '@fastify/helmet'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import packageJson from '../../../package.json' with { type: 'json' }
import { createOnce } from '../../lib/concurrency.ts'
import { problem } from '../../problems.ts'
import type { Operation } from '../docs/operation.ts'
import { ICON } from '../docs/problems.ts'
import { NoQuery, OneOf, ProblemReply, Text } from '../schemas.ts'

const Link = (description: string, example: string) => Type.Optional(Text({ description, example }))

/** Answer of `GET /`. */
const ServerReply = Type.Object(
  {
    name: Text({ description: 'The name of this program.', example: packageJson.name }),
    version: Text({ description: 'Its version.', example: packageJson.version }),
    authentication: OneOf(['none', 'required'], {
      description: '`required`: requests need an API key or an access token.',
      examples: ['none'],
    }),
    links: Type.Object(
      {
        jobs: Text({ description: 'The jobs.', example: '/jobs' }),
        events: Text({ description: 'Their changes, as a stream.', example: '/events' }),
        health: Text({ description: 'Whether the process is alive.', example: '/healthz' }),
        readiness: Text({ description: 'Whether it should get requests.', example: '/readyz' }),
        metrics: Text({ description: 'Its metrics.', example: '/metrics' }),
        docs: Link(
          'The reference as a page, if it is public: a browser sends no credential when it follows a link.',
          '/docs',
        ),
        openapi: Link('The reference as a document, if it is served.', '/openapi.json'),
      },
      { $id: 'ServerLinks', description: 'Where to continue, relative to this server.' },
    ),
  },
  { $id: 'Server', description: 'What answers at this address.' },
)

const HTML = 'text/html; charset=utf-8'
const JAVASCRIPT = 'text/javascript; charset=utf-8'

const LINKS = { jobs: '/jobs', events: '/events', health: '/healthz', readiness: '/readyz', metrics: '/metrics' }
const PAGE_LINK = { docs: '/docs' }
const DOCUMENT_LINK = { openapi: '/openapi.json' }

const docs: Operation = {
  operationId: 'getServer',
  tag: 'reference',
  summary: 'What is this?',
  description:
    'Name and version of the server, and where to continue. With `Accept: text/html`, as browsers send it, the console; without a console the reference, if it is public.',
  answers: {
    200: {
      description: 'The server.',
      examples: {
        server: {
          summary: 'An open server',
          value: {
            name: packageJson.name,
            version: packageJson.version,
            authentication: 'none',
            links: { ...LINKS, ...PAGE_LINK, ...DOCUMENT_LINK },
          },
        },
      },
    },
    302: { description: 'The reference is at another address.', headers: ['Location'] },
  },
}

export type ConsoleRoutesOptions = {
  /** Whether the console is served. */
  readonly console: boolean
  /** Whether the server requires credentials. */
  readonly authenticated: boolean
  /** Whether the reference is served. */
  readonly hasReference: boolean
  /** Whether it needs no credential. */
  readonly isPublic: boolean
  /** The origin of the bucket, to which files are sent and links of files redirect; undefined: there is none. */
  readonly storeOrigin: string | undefined
}

/** `GET /`: the console for browsers, else what the server is; and the files of the console. */
export const consoleRoutes: FastifyPluginAsyncTypebox<ConsoleRoutesOptions> = async (app, options) => {
  const { hasReference, isPublic } = options
  const answer = {
    name: packageJson.name,
    version: packageJson.version,
    authentication: options.authenticated ? ('required' as const) : ('none' as const),
    links: { ...LINKS, ...(isPublic && PAGE_LINK), ...(hasReference && DOCUMENT_LINK) },
  }
  if (options.console) await app.register(helmet, headersFor(options.storeOrigin))
  const files = createOnce(loadFiles)

  app.get(
    '/',
    {
      config: { access: 'public', docs },
      schema: { querystring: NoQuery, response: { 200: ServerReply, 302: Type.Null(), '4xx': ProblemReply } },
    },
    async (request, reply) => {
      reply.header('vary', 'accept')
      if (!/\btext\/html\b/.test(request.headers.accept ?? '')) return answer
      if (options.console) {
        // They are needed at once. A request for one gets the error, if there is one.
        files.get().catch(() => undefined)
        // The serializer is for the JSON.
        return reply
          .type(HTML)
          .serializer(String)
          .send((await page()) as never)
      }
      return isPublic ? reply.redirect('docs', 302) : answer
    },
  )
  if (!options.console) return

  app.get<{ Params: { folder: string; file: string } }>(
    '/console/:folder/:file',
    { config: { access: 'public' }, schema: { hide: true, querystring: NoQuery } },
    async (request, reply) => {
      const { params } = request
      const path = `${params.folder}/${params.file}`
      const file = path === STYLE ? await style() : (await files.get()).get(path)
      if (!file) throw problem('route_not_found')
      reply.headers({ etag: file.etag, 'cache-control': 'no-cache', vary: 'accept-encoding' })
      if (request.headers['if-none-match'] === file.etag) return reply.code(304).send()
      reply.type(file.type)
      if (!/\bgzip\b/.test(request.headers['accept-encoding'] ?? '')) return reply.send(gunzipSync(file.gzip))
      return reply.header('content-encoding', 'gzip').send(file.gzip)
    },
  )
}

/** Where the page finds what its modules import by name. */
const IMPORT_MAP = JSON.stringify({
  imports: {
    preact: './console/lib/preact.js',
    'preact/hooks': './console/lib/hooks.js',
    htm: './console/lib/htm.js',
    'htm/preact': './console/lib/htm-preact.js',
    'api-schema': './console/lib/api-schema.js',
  },
})

/** No other origin but the bucket's for files, no inline script but the import map, no `eval`, no HTML made from text (Trusted Types). */
const headersFor = (storeOrigin: string | undefined, store = storeOrigin === undefined ? [] : [storeOrigin]) => ({
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'", `'sha256-${createHash('sha256').update(IMPORT_MAP).digest('base64')}'`],
      styleSrc: ["'self'"],
      // Chosen files are shown from memory.
      imgSrc: ["'self'", 'data:', 'blob:', ...store],
      mediaSrc: ["'self'", 'blob:', ...store],
      connectSrc: ["'self'", ...store],
      baseUri: ["'none'"],
      formAction: ["'none'"],
      frameAncestors: ["'none'"],
      requireTrustedTypesFor: ["'script'"],
    },
  },
  xFrameOptions: { action: 'deny' } as const,
  // As for the page of the reference.
  strictTransportSecurity: false,
  crossOriginOpenerPolicy: false,
  originAgentCluster: false,
})

const SOURCES = new URL('../../console/', import.meta.url)

// Relative URLs, so that the page also works behind a proxy that serves this server under a path.
const page = createOnce(async () => {
  const modules = (await readdir(SOURCES)).filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
  const preloads = [
    'lib/preact.js',
    'lib/hooks.js',
    'lib/htm.js',
    'lib/htm-preact.js',
    ...modules.map((name) => `page/${name}`),
  ]
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <meta name="color-scheme" content="light dark" />
    <title>MuseTalk Orchestrator</title>
    <link rel="icon" href="${ICON}" />
    <link rel="stylesheet" href="console/${STYLE}" />
    <script type="importmap">${IMPORT_MAP}</script>
${preloads.map((path) => `    <link rel="modulepreload" href="console/${path}" />`).join('\n')}
    <script type="module" src="console/page/app.ts"></script>
  </head>
  <body>
    <div id="app"><header class="bar"><span class="brand">MuseTalk Orchestrator</span></header></div>
    <noscript><p class="notice">This page needs JavaScript. The API and its reference do not.</p></noscript>
  </body>
</html>
`
}).get

/** The sheet comes before the other files are made, so that something is shown meanwhile. */
const STYLE = 'page/style.css'
const style = createOnce(async () => fileOf(STYLE, gzipSync(await readFile(new URL('style.css', SOURCES))))).get

type ConsoleFile = { readonly type: string; readonly etag: string; readonly gzip: Buffer }

/** How long the files may take to make, in ms, and their bytes. They take about half a second, and have 150 KB. */
const LOAD_TIMEOUT_MS = 60_000
const MAX_FILES_BYTES = 16 * 1024 * 1024

/** The files of the console by their path, made on the first request for one, and again after a failure. */
async function loadFiles(): Promise<ReadonlyMap<string, ConsoleFile>> {
  const script = fileURLToPath(new URL('./files.ts', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, ['--disable-warning=ExperimentalWarning', script], {
    timeout: LOAD_TIMEOUT_MS,
    maxBuffer: MAX_FILES_BYTES,
    env: {},
  })
  const files = JSON.parse(stdout) as Record<string, string>
  return new Map(
    Object.entries(files).map(([path, text]) => [path, fileOf(path, Buffer.from(text, 'base64'))] as const),
  )
}

function fileOf(path: string, gzip: Buffer): ConsoleFile {
  const etag = `"${createHash('sha256').update(gzip).digest('base64url').slice(0, 16)}"`
  return { type: path.endsWith('.css') ? 'text/css; charset=utf-8' : JAVASCRIPT, etag, gzip }
}
