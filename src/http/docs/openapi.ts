import type { HTTPMethods, RouteOptions } from 'fastify'
import { type Problem, problem, type ProblemCode, PROBLEMS } from '../../problems.ts'
import { documentOf, neitherJsonNorForm, PROBLEM_TYPE } from '../plugins/problems.ts'
import { type Answer, type HeaderName, headerRefs, type Operation, RATE_LIMIT_HEADERS } from './operation.ts'

/** Schemas by their `$id`. */
export type NamedSchemas = Map<string, object>

/** Our own keywords. */
type OwnKeywords = {
  readonly $id?: string
  readonly exactlyOneOf?: readonly (readonly string[])[]
  readonly nullIsAbsent?: boolean
}

/**
 * Copies a schema. Each schema in it that has an `$id`, however deep, becomes a reference, and is put into `named`. Our
 * own keywords become JSON Schema.
 */
export function nameSchemas(schema: unknown, named: NamedSchemas): unknown {
  if (Array.isArray(schema)) return schema.map((one) => nameSchemas(one, named))
  if (typeof schema !== 'object' || schema === null) return schema
  const { $id, exactlyOneOf, nullIsAbsent, ...rest } = schema as OwnKeywords
  const members = Object.entries(nullIsAbsent ? withNulls(rest) : rest)
  const copy = {
    ...Object.fromEntries(members.map(([key, value]) => [key, nameSchemas(value, named)])),
    ...(exactlyOneOf && { allOf: exactlyOneOf.map((fields) => oneGiven(fields, nullIsAbsent ? rest : {})) }),
  }
  if ($id === undefined) return copy
  named.set($id, { $id, ...copy })
  return { $ref: `${$id}#` }
}

/** `properties` restricts the field that is given: null does not count. */
const oneGiven = (fields: readonly string[], { properties = {} }: ObjectSchema) => ({
  oneOf: fields.map((field) => ({
    required: [field],
    ...(properties[field] && { properties: { [field]: properties[field] } }),
  })),
})

type ObjectSchema = {
  readonly properties?: Readonly<Record<string, Member>>
  readonly required?: readonly string[]
  readonly additionalProperties?: boolean | Member
}
type Member = { readonly type?: string; readonly enum?: readonly unknown[] }

/** `nullIsAbsent` as types: every optional member may be null. */
function withNulls(schema: object): object {
  const { properties = {}, required = [], additionalProperties } = schema as ObjectSchema
  const members = Object.entries(properties).map(([name, member]) => [
    name,
    required.includes(name) ? member : nullable(member),
  ])
  return {
    ...schema,
    ...(members.length > 0 && { properties: Object.fromEntries(members) as object }),
    ...(typeof additionalProperties === 'object' && { additionalProperties: nullable(additionalProperties) }),
  }
}

const nullable = (member: Member) => ({
  ...member,
  type: [member.type, 'null'],
  ...(member.enum && { enum: [...member.enum, null] }),
})

/** A route and its documentation. */
export type Described = {
  readonly route: RouteOptions
  readonly operation: Operation
  /** Whether the server requires credentials at all. */
  readonly authenticated: boolean
}

/** An answer as OpenAPI has it. `content` is by media type. */
export type ResponseObject = {
  description: string
  headers?: Record<string, object>
  content?: Record<string, { schema?: object; examples?: object }>
}

const READS: readonly (HTTPMethods | HTTPMethods[])[] = ['GET', 'HEAD']

/** Problems that any request can meet before it has a route. */
const BEFORE_THE_ROUTE = ['request_timeout', 'expectation_failed', 'headers_too_large', 'bad_request'] as const

/** The problems of a route: those that its operation names, and those that follow from its method, path and access. */
function problemsOf({ route, operation, authenticated }: Described): Set<ProblemCode> {
  const { access = 'public', alwaysAnswered } = route.config ?? {}
  const isGuarded = authenticated && access !== 'public'
  return new Set<ProblemCode>([
    ...(['malformed_request', 'invalid_request'] as const),
    ...(route.url.includes(':') ? (['malformed_url'] as const) : []),
    ...(READS.includes(route.method) ? [] : CHANGE_PROBLEMS),
    ...(isGuarded ? (['unauthorized', 'rate_limited', 'issuer_unavailable'] as const) : []),
    ...(isGuarded && access !== 'authenticated' ? (['insufficient_scope'] as const) : []),
    ...(alwaysAnswered ? [] : (['rate_limited', 'overloaded', 'store_unavailable', 'server_ending'] as const)),
    ...(operation.problems ?? []),
    'internal_error',
  ])
}

const CHANGE_PROBLEMS = ['unsupported_media_type', 'invalid_json', 'body_too_large', 'cross_site_refused'] as const

/** The error answers of a route by status, with an example of every code. */
export function problemResponses(described: Described): Record<string, ResponseObject> {
  const examples = examplesOf(problemsOf(described)).map((example) =>
    described.operation.form && example.code === 'unsupported_media_type' ? neitherJsonNorForm() : example,
  )
  const byStatus = Map.groupBy(examples, ({ status }) => String(status))
  const responses = [...byStatus].map(([status, ofStatus]) => {
    // Requests without a valid credential are not counted against a rate limit.
    const limits = status === '401' ? [] : limitsOf(described)
    return [status, problemResponse(ofStatus, limits)] as const
  })
  return {
    ...Object.fromEntries(responses),
    default: {
      ...problemResponse(examplesOf(BEFORE_THE_ROUTE), []),
      description: 'Any other problem, such as that of an unreadable request.',
    },
  }
}

/** The headers of the rate limit, on routes that have one. */
const limitsOf = ({ route }: Described): readonly HeaderName[] =>
  route.config?.alwaysAnswered ? [] : RATE_LIMIT_HEADERS

/** The headers of every answer. */
const COMMON_HEADERS: readonly HeaderName[] = ['X-Request-Id']

/** An example of each code with each of its statuses. */
const examplesOf = (codes: Iterable<ProblemCode>): Problem[] =>
  [...codes].flatMap((code) => {
    const { also = [], example } = PROBLEMS[code]
    return [problem(code, example), ...also.map(({ status }) => problem(code, { status }))]
  })

function problemResponse(examples: readonly Problem[], limits: readonly HeaderName[]): ResponseObject {
  const headers = new Set(examples.flatMap(headersOf))
  return {
    description: examples.map(({ code }) => `- \`${code}\`: ${PROBLEMS[code].when}`).join('\n'),
    headers: headerRefs([...headers, ...limits, ...COMMON_HEADERS]),
    content: {
      [PROBLEM_TYPE]: {
        schema: { $ref: '#/components/schemas/Problem' },
        examples: Object.fromEntries(
          examples.map((example) => [example.code, { summary: example.message, value: documentOf(example) }]),
        ),
      },
    },
  }
}

/** The headers that come with a problem. */
const headersOf = ({ retryAfterSeconds, challenge }: Problem): HeaderName[] => [
  ...(retryAfterSeconds === undefined ? [] : ['Retry-After' as const]),
  ...(challenge === undefined ? [] : ['WWW-Authenticate' as const]),
]

/** A success answer, with the examples of the operation. */
export function successResponse(
  { description, headers = [], examples }: Answer,
  { content }: Partial<ResponseObject>,
  described: Described,
): ResponseObject {
  const withExamples = Object.entries(content ?? {}).map(([type, media]) => [
    type,
    { ...media, ...(examples && { examples }) },
  ])
  return {
    description,
    headers: headerRefs([...headers, ...limitsOf(described), ...COMMON_HEADERS]),
    ...(content && { content: Object.fromEntries(withExamples) as NonNullable<ResponseObject['content']> }),
  }
}
