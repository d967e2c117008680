import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { PROBLEM_CODES, type ProblemCode, PROBLEMS } from '../../problems.ts'
import { PROBLEMS_PATH, titleOf } from '../plugins/problems.ts'
import { NoQuery, ProblemReply } from '../schemas.ts'
import type { Operation } from './operation.ts'

/** The statuses of a code, lowest first. */
export const statusesOf = (code: ProblemCode): number[] => {
  const { status, also = [] } = PROBLEMS[code]
  return [status, ...also.map((variant) => variant.status)].sort()
}

const docs: Operation = {
  operationId: 'readProblems',
  tag: 'reference',
  summary: 'All problems as a page',
  description: 'Explains each `code`; the `type` of a problem leads there. Always public.',
  answers: { 200: { description: 'The page.' } },
}

export const HtmlReply = Type.Unsafe<string>({
  content: {
    'text/html': {
      schema: { type: 'string', description: 'The page.', examples: ['<!doctype html>'] },
    },
  },
})

/** The icon of every page: a mouth that speaks. */
export const ICON = `data:image/svg+xml,${encodeURIComponent(
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#4f46e5"/><path d="M6 16c4-6 8-6 10-4 2-2 6-2 10 4-4 6-8 7-10 7s-6-1-10-7z" fill="#fff"/><path d="M9 16c4-1 10-1 14 0" stroke="#4f46e5" stroke-width="2" fill="none"/></svg>',
)}`

const STYLE =
  'body{font:1rem/1.5 system-ui,sans-serif;max-width:45rem;margin:2rem auto;padding:0 1rem;overflow-wrap:anywhere}h2 a{color:inherit;text-decoration:none}' +
  'nav{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;padding-bottom:.75rem;border-bottom:1px solid}nav a{color:inherit}'

/** The page has no script, loads nothing but its icon, and is not framed. */
const CONTENT_SECURITY_POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

/** Our texts have no markup but backticks. */
const htmlOf = (text: string): string =>
  text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll(/`([^`]+)`/g, '<code>$1</code>')

const sectionOf = (code: ProblemCode): string => `<section id="${code}">
<h2><a href="#${code}"><code>${code}</code></a></h2>
<p>${statusesOf(code)
  .map((status) => `${status} ${titleOf(status)}`)
  .join(', ')}</p>
<p>${htmlOf(PROBLEMS[code].when)}</p>
</section>`

export type ProblemsPageOptions = {
  /** Whether the console is served. */
  readonly console: boolean
  /** Whether the reference is public: a browser has no other way to open it. */
  readonly isPublic: boolean
  readonly hasReference: boolean
}

/** The bar of the other pages. Relative URLs: a proxy may serve this server under a path. */
const barOf = ({ console, isPublic, hasReference }: ProblemsPageOptions): string => {
  const links = [
    ...(console ? ['<a href="../">Console</a>'] : []),
    ...(hasReference && isPublic ? ['<a href="../docs">Reference</a>'] : []),
  ]
  return links.length === 0 ? '' : `<nav><strong>MuseTalk Orchestrator</strong>${links.join('')}</nav>\n`
}

const pageOf = (options: ProblemsPageOptions): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<meta name="color-scheme" content="light dark" />
<title>Problems of the MuseTalk Orchestrator</title>
<link rel="icon" href="${ICON}" />
<style>${STYLE}</style>
</head>
<body>
${barOf(options)}<h1>Problems</h1>
<p>Every error is a problem document (RFC 9457) with one of these codes. Programs should use the code, not its text.</p>
${PROBLEM_CODES.map(sectionOf).join('\n')}
</body>
</html>
`

/**
 * `GET /docs/problems`: what the `type` of a problem leads to. It is public wherever the server is reachable, since the
 * client of a refused request may have no credential, and it says nothing about this server.
 */
export const problemsPageRoutes: FastifyPluginAsyncTypebox<ProblemsPageOptions> = (app, options) => {
  app.get(
    PROBLEMS_PATH,
    {
      config: { access: 'public', docs },
      schema: { querystring: NoQuery, response: { 200: HtmlReply, '4xx': ProblemReply } },
    },
    async (_request, reply) =>
      reply
        .headers({ 'content-security-policy': CONTENT_SECURITY_POLICY, 'referrer-policy': 'no-referrer' })
        .type('text/html; charset=utf-8')
        .send(pageOf(options)),
  )
  return Promise.resolve()
}
