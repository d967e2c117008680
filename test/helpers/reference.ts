import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import type { LightMyRequestResponse } from 'fastify'
import type { OpenApi } from '../../src/http/docs/document.ts'
import type { TestApp } from './app.ts'

/** Headers of answers that callers act on: where one comes, the reference must have said so. */
const DOCUMENTED = [
  ...['location', 'idempotent-replayed', 'ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset'],
  ...['ratelimit-policy', 'ratelimit'],
  ...['retry-after', 'www-authenticate', 'etag', 'x-request-id', 'link'],
]

const formats = {
  'date-time': /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/,
  uuid: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
  uri: (text: string) => URL.canParse(text),
  'uri-reference': (text: string) => URL.canParse(text, 'http://localhost'),
  binary: true as const,
}

/** The reference as a caller gets it. */
export async function referenceOf({ app }: TestApp, headers: Record<string, string> = {}): Promise<OpenApi> {
  const answer = await app.inject({ method: 'GET', url: '/openapi.json', headers })
  if (answer.statusCode !== 200) throw new Error(answer.body)
  return answer.json()
}

const referees = new WeakMap<OpenApi, Referee>()

/** Compares answers with a reference. Each is compiled once, which takes longer than most tests. */
export function refereeOf(reference: OpenApi): Referee {
  const referee = referees.get(reference) ?? createReferee(reference)
  referees.set(reference, referee)
  return referee
}

type Referee = ReturnType<typeof createReferee>

function createReferee(reference: OpenApi) {
  const ajv = new Ajv2020({ strict: false, allErrors: true, formats })
  ajv.addSchema(reference, 'reference')
  const compiled = new Map<string, ValidateFunction>()
  const compile = (...path: string[]) => {
    const pointer = path.map((part) => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'))).join('/')
    const validate = compiled.get(pointer) ?? ajv.compile({ $ref: `reference#/${pointer}` })
    compiled.set(pointer, validate)
    return validate
  }

  /** What is wrong with a value, by a schema of the reference; empty where nothing is. */
  const errorsBy = (value: unknown, ...path: string[]): string[] => {
    const validate = compile(...path)
    return validate(value) ? [] : (validate.errors ?? []).map((error) => `${error.instancePath} ${error.message ?? ''}`)
  }

  return {
    errorsBy,
    /** What of an answer of a route (`GET /jobs/:id`) the reference does not document. */
    mismatchesOf(route: string, answer: LightMyRequestResponse): string[] {
      const [method = '', url = ''] = route.toLowerCase().split(' ')
      const path = url.replaceAll(/:(\w+)/g, '{$1}')
      const { responses } = reference.paths[path]![method]!
      const status = String(answer.statusCode)
      const documented = responses[status]
      if (!documented) return [`the status ${status} is not documented`]
      const headers = Object.keys(documented.headers ?? {}).map((name) => name.toLowerCase())
      const undocumented = DOCUMENTED.filter((name) => answer.headers[name] !== undefined && !headers.includes(name))
      const mismatches = undocumented.map((name) => `the header ${name} is not documented`)
      // A log may have no line, and a stream no event yet.
      const mayBeEmpty =
        !documented.content || 'text/plain' in documented.content || 'text/event-stream' in documented.content
      if (answer.body === '') return mayBeEmpty ? mismatches : [...mismatches, 'there is no body']
      const [type = ''] = String(answer.headers['content-type']).split(';')
      // A range of media types (OpenAPI 3.1, Media Type Object) is for those that are not documented by name.
      const documentedType = documented.content?.[type] ? type : '*/*'
      const media = documented.content?.[documentedType]
      if (!media) return [...mismatches, `the type ${type} is not documented`]
      const isJson = type.endsWith('json')
      const body: unknown = isJson ? answer.json() : answer.body
      const code = type.startsWith('application/problem') ? answer.json<{ code: string }>().code : undefined
      if (code !== undefined && !Object.keys(media.examples ?? {}).includes(code))
        mismatches.push(`${code} is not documented`)
      const schemaPath = ['paths', path, method, 'responses', status, 'content', documentedType, 'schema']
      return [...mismatches, ...errorsBy(body, ...schemaPath)]
    },
  }
}
