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

const STYLE = 'body{font:1rem/1.5 system-ui,sans-serif;max-width:45rem;margin:2rem auto;padding:0 1rem}'

/** The page has no script, loads nothing, and is not framed. */
const CONTENT_SECURITY_POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

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

const pageOf = (): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<meta name="color-scheme" content="light dark" />
<title>Problems of the MuseTalk Orchestrator</title>
<link rel="icon" href="data:," />
<style>${STYLE}</style>
</head>
<body>
<h1>Problems</h1>
<p>Every error is a problem document (RFC 9457) with one of these codes. Programs should use the code, not its text.</p>
${PROBLEM_CODES.map(sectionOf).join('\n')}
</body>
</html>
`

/**
 * `GET /docs/problems`: what the `type` of a problem leads to. It is public wherever the server is reachable, since the
 * client of a refused request may have no credential, and it says nothing about this server.
 */
export const problemsPageRoutes: FastifyPluginAsyncTypebox = (app) => {
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
        .send(pageOf()),
  )
  return Promise.resolve()
}
