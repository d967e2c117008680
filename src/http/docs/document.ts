import swagger from '@fastify/swagger'
import Fastify, { type FastifySchema, type RouteOptions } from 'fastify'
import { PROBLEM_CODES, PROBLEMS } from '../../problems.ts'
import packageJson from '../../../package.json' with { type: 'json' }
import { NoBody, ProblemReply } from '../schemas.ts'
import {
  type Described,
  type NamedSchemas,
  nameSchemas,
  problemResponses,
  type ResponseObject,
  successResponse,
} from './openapi.ts'
import { type Examples, HEADERS, TAGS } from './operation.ts'

type OperationObject = {
  readonly operationId: string
  readonly summary: string
  readonly description: string
  readonly tags: string[]
  requestBody?: { content: Record<string, { schema?: object; examples?: Examples }> }
  responses: Record<string, ResponseObject>
}

/** The parts of an OpenAPI document that are looked at here. */
export type OpenApi = {
  readonly openapi: string
  readonly info: { readonly description: string }
  readonly servers: readonly { readonly url: string; readonly description: string }[]
  readonly paths: Record<string, Record<string, OperationObject>>
  readonly components: { readonly schemas: Record<string, object>; headers?: object }
}

/** What is said of a server: its routes, and whether it asks for credentials. */
export type DescribedServer = { readonly routes: readonly RouteOptions[]; readonly authenticated: boolean }

/**
 * Describes a server in OpenAPI 3.1. `@fastify/swagger` would have to be there before the first route is added, and
 * costs memory; so it is given the same routes again, in an application of its own that never runs. Rejects where a route
 * has no `docs`.
 */
export async function describeServer({ routes, authenticated }: DescribedServer): Promise<OpenApi> {
  const order = Object.keys(TAGS)
  const described = routes
    .filter(isPublished)
    .map((route) => describeRoute(route, authenticated))
    .sort((a, b) => order.indexOf(a.operation.tag) - order.indexOf(b.operation.tag))
  const document = await writeDocument(described, authenticated)
  const byId = new Map(described.map((one) => [one.operation.operationId, one]))
  for (const operation of Object.values(document.paths).flatMap((path) => Object.values(path))) {
    const one = byId.get(operation.operationId)
    if (one) complete(operation, one)
  }
  const text = JSON.stringify(document.paths)
  const headers = Object.entries(HEADERS).filter(([name]) => text.includes(`"#/components/headers/${name}"`))
  document.components.headers = Object.fromEntries(headers)
  return document
}

/** The document for clients that reach the server at `url`, which has no slash at its end; empty: where the document is. */
export const addressedTo = (document: OpenApi, url: string): OpenApi => ({
  ...document,
  info: { ...document.info, description: document.info.description.replaceAll(SERVER, url) },
  servers: document.servers.map((server) => ({ ...server, url: url === '' ? '/' : url })),
})

/** The document as `@fastify/swagger` makes it. */
async function writeDocument(described: readonly Described[], authenticated: boolean): Promise<OpenApi> {
  const book = Fastify({ exposeHeadRoutes: false })
    .setValidatorCompiler(() => () => true)
    .setSerializerCompiler(() => JSON.stringify)
  await book.register(swagger, {
    openapi: {
      openapi: '3.1.1',
      ...aboutServer({ authenticated }),
      ...(authenticated ? { components: { securitySchemes: SECURITY_SCHEMES } } : { security: [] }),
    },
    refResolver: { buildLocalReference: ({ $id }) => $id as string },
  })
  const schemas: NamedSchemas = new Map()
  nameSchemas(ProblemReply, schemas)
  for (const { operation } of described) nameSchemas(operation.form?.schema, schemas)
  for (const one of described) {
    const { method, url } = one.route
    book.route({ method, url, schema: nameSchemas(schemaOf(one), schemas) as FastifySchema, handler: () => undefined })
  }
  for (const schema of schemas.values()) book.addSchema(schema)
  await book.ready()
  const document = book.swagger() as unknown as OpenApi
  await book.close()
  return document
}

/** Fastify answers HEAD where it answers GET. Hidden are parts of pages, and what is not for callers. */
const isPublished = ({ method, schema }: RouteOptions) => method !== 'HEAD' && schema?.hide !== true

function describeRoute(route: RouteOptions, authenticated: boolean): Described {
  const operation = route.config?.docs
  if (!operation) throw new Error(`${String(route.method)} ${route.url} is not described: it needs \`docs\``)
  return { route, operation, authenticated }
}

/** The schemas of the route and the words of the operation, as `@fastify/swagger` takes them. */
function schemaOf({ route, operation, authenticated }: Described): FastifySchema {
  const { body, querystring, params, response = {} } = (route.schema ?? {}) as { response?: object } & FastifySchema
  const { access = 'public' } = route.config ?? {}
  const scopes = access === 'public' || access === 'authenticated' ? [] : [access]
  const { operationId, tag, summary, description, headers } = operation
  const needs = authenticated && scopes.length > 0 ? `\n\nNeeds the scope \`${scopes.join()}\`.` : ''
  return {
    ...{ operationId, summary, tags: [tag], description: description + needs },
    ...(querystring !== undefined && { querystring: withoutOffers(querystring) }),
    ...(params !== undefined && { params }),
    ...(headers && { headers: withoutOffers(headers) }),
    ...(body !== undefined && body !== NoBody && { body }),
    response: Object.fromEntries(Object.entries(response).filter(([status]) => /^\d+$/.test(status))),
    ...(authenticated && { security: access === 'public' ? [] : [{ bearer: scopes }, { apiKey: scopes }] }),
  }
}

/**
 * Parameters whose examples are in their descriptions, where they are optional: as an example of its own each would be
 * filled in by the page, and sent.
 */
function withoutOffers(schema: unknown): object {
  const { properties = {}, required = [], ...rest } = schema as ParametersSchema
  const offered = Object.entries(properties).map(([name, { examples, ...parameter }]) => [
    name,
    required.includes(name) || !examples
      ? { ...parameter, ...(examples && { examples }) }
      : { ...parameter, description: `${parameter.description} For example \`${String(examples[0])}\`.` },
  ])
  return { ...rest, required, properties: Object.fromEntries(offered) as object }
}

type ParametersSchema = {
  readonly properties?: Readonly<Record<string, { readonly description: string; readonly examples?: unknown[] }>>
  readonly required?: readonly string[]
}

/** What `@fastify/swagger` does not take: headers, examples and every problem. */
function complete(operation: OperationObject, described: Described): void {
  const { body, form, answers } = described.operation
  const media = Object.values(operation.requestBody?.content ?? {})
  if (body) for (const one of media) one.examples = body
  if (form && operation.requestBody) {
    const schema = { $ref: `#/components/schemas/${form.schema.$id ?? ''}` }
    operation.requestBody.content['multipart/form-data'] = { schema, examples: form.examples }
  }
  const successes = Object.entries(answers).map(([status, answer]) => [
    ...[status, successResponse(answer, operation.responses[status] ?? {}, described)],
  ])
  operation.responses = { ...problemResponses(described), ...(Object.fromEntries(successes) as object) }
}

/** Stands for the URL of the server, which is not known before somebody asks. */
const SERVER = 'SERVER_URL'

const intro = `A REST job server for lip-sync video: post a face (video or image) and speech, and fetch a video in which the face speaks.

    curl -s ${SERVER}/jobs -H 'content-type: application/json' \\
      -d '{"video_path": "face.mp4", "audio_path": "speech.wav"}'

A job is \`submitted\`, then \`running\`, then \`succeeded\`, \`failed\` or \`canceled\`. It ends by its deadline at the latest.

## Requests

Fields and parameters that are not in this document are refused, as are values out of range: nothing is guessed or ignored. JSON is read in UTF-8; null for an optional field counts as absent, and so does an input of a form that was left empty. A slash at the end of a path changes nothing.

## Errors

Every error is a problem document (RFC 9457) with a stable \`code\`; its \`detail\` is for people. \`errors\` names every field that is wrong, and says all that is wrong with it. The list of codes is at the end of this page.
`

const access = `## Access

Give an API key or an access token as \`Authorization: Bearer ...\`, or an API key as \`X-API-Key\`, and not both. Each operation names the scope it needs; \`admin\` is good for all. You see and touch only your own jobs: another caller's are \`job_not_found\`, like those that do not exist.
`

/** Every code, and when it comes: long, and looked at when one has come. */
const codes = () =>
  PROBLEM_CODES.map((code) => {
    const { when, status, also = [] } = PROBLEMS[code]
    const statuses = [status, ...also.map((variant) => variant.status)].sort()
    return `- \`${code}\` (${statuses.join(', ')}): ${when}`
  }).join('\n')

/** How credentials are given. */
const SECURITY_SCHEMES = {
  bearer: {
    type: 'http',
    scheme: 'bearer',
    description: 'An API key, or an access token of the OpenID Connect issuer that the server trusts.',
  },
  apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key', description: 'An API key.' },
} as const

/** What the document says of the server as a whole. */
const aboutServer = ({ authenticated }: { authenticated: boolean }) => ({
  info: {
    title: 'MuseTalk Orchestrator',
    version: packageJson.version,
    description: [intro, ...(authenticated ? [access] : [])].join('\n'),
    license: { name: 'MIT', identifier: 'MIT' },
  },
  servers: [{ url: '/', description: 'This server.' }],
  tags: [
    ...Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    { name: 'problems', description: codes() },
  ],
})
