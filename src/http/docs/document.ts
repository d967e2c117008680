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
import { statusesOf } from './problems.ts'
import { describeWebhooks, WEBHOOK_BODIES } from './webhook-events.ts'

type OperationObject = {
  readonly operationId: string
  readonly summary: string
  readonly description: string
  readonly tags: string[]
  readonly parameters?: readonly { readonly schema?: { readonly type?: string } }[]
  requestBody?: { content: Record<string, { schema?: object; examples?: Examples }> }
  responses: Record<string, ResponseObject>
}

/** The parts of an OpenAPI document that this server reads or changes. */
export type OpenApi = {
  readonly openapi: string
  readonly info: { readonly description: string }
  readonly servers: readonly { readonly url: string; readonly description: string }[]
  readonly paths: Record<string, Record<string, OperationObject>>
  webhooks?: Record<string, object>
  readonly components: { readonly schemas: Record<string, object>; headers?: object }
}

/** A server as the document describes it. `authenticated`: it requires credentials. */
export type DescribedServer = { readonly routes: readonly RouteOptions[]; readonly authenticated: boolean }

/**
 * Describes a server in OpenAPI 3.1. `@fastify/swagger` must be registered before the first route, and is loaded from
 * then on. So the routes are added once more, on the first request for the document, to an application that never runs.
 * Idle memory, with: 115 MB, without: 117 MB, at no difference in boot (`npm run bench -- requests/idle`).
 * Rejects if a route has no `docs`.
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
  document.webhooks = describeWebhooks()
  const text = JSON.stringify(document.paths)
  const headers = Object.entries(HEADERS).filter(([name]) => text.includes(`"#/components/headers/${name}"`))
  document.components.headers = Object.fromEntries(headers)
  return document
}

/** The document for clients that reach the server at `url` (without a final slash); empty: relative to the document. */
export const addressedTo = (document: OpenApi, url: string): OpenApi => ({
  ...document,
  info: { ...document.info, description: document.info.description.replaceAll(SERVER, url) },
  servers: document.servers.map((server) => ({ ...server, url: url === '' ? '/' : url })),
})

/** The document as `@fastify/swagger` makes it. */
async function writeDocument(described: readonly Described[], authenticated: boolean): Promise<OpenApi> {
  const app = Fastify({ exposeHeadRoutes: false })
    .setValidatorCompiler(() => () => true)
    .setSerializerCompiler(() => JSON.stringify)
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.1',
      ...aboutServer({ authenticated }),
      ...(authenticated ? { components: { securitySchemes: SECURITY_SCHEMES } } : { security: [] }),
    },
    refResolver: { buildLocalReference: ({ $id }) => $id as string },
  })
  const schemas: NamedSchemas = new Map()
  nameSchemas(ProblemReply, schemas)
  nameSchemas(WEBHOOK_BODIES, schemas)
  for (const { operation } of described) nameSchemas(operation.form?.schema, schemas)
  for (const one of described) {
    const { method, url } = one.route
    app.route({ method, url, schema: nameSchemas(schemaOf(one), schemas) as FastifySchema, handler: () => undefined })
  }
  for (const schema of schemas.values()) app.addSchema(schema)
  await app.ready()
  const document = app.swagger() as unknown as OpenApi
  await app.close()
  return document
}

/** Fastify adds HEAD to every GET. Routes that only a page or the router uses are hidden. */
const isPublished = ({ method, schema }: RouteOptions) => method !== 'HEAD' && schema?.hide !== true

function describeRoute(route: RouteOptions, authenticated: boolean): Described {
  const operation = route.config?.docs
  if (!operation) throw new Error(`${String(route.method)} ${route.url} is not described: it needs \`docs\``)
  return { route, operation, authenticated }
}

/** The schemas of the route and the documentation of the operation, as `@fastify/swagger` takes them. */
function schemaOf({ route, operation, authenticated }: Described): FastifySchema {
  const { body, querystring, params, response = {} } = (route.schema ?? {}) as { response?: object } & FastifySchema
  const { access = 'public' } = route.config ?? {}
  const scopes = access === 'public' || access === 'authenticated' ? [] : [access]
  const { operationId, tag, summary, description, headers } = operation
  const needs = authenticated && scopes.length > 0 ? `\n\nNeeds the scope \`${scopes.join()}\`.` : ''
  return {
    operationId,
    summary,
    tags: [tag],
    description: description + needs,
    ...(querystring !== undefined && { querystring: withoutParameterExamples(querystring) }),
    ...(params !== undefined && { params }),
    ...(headers && { headers: withoutParameterExamples(headers) }),
    ...(body !== undefined && body !== NoBody && { body }),
    response: Object.fromEntries(Object.entries(response).filter(([status]) => /^\d+$/.test(status))),
    // Scopes are in the description: linters want them here only of OAuth 2, though OpenAPI 3.1 allows others.
    ...(authenticated && { security: access === 'public' ? [] : [{ bearer: [] }, { apiKey: [] }] }),
  }
}

/**
 * Moves the examples of optional parameters into their descriptions: the page would fill in each example, and send it.
 */
function withoutParameterExamples(schema: unknown): object {
  const { properties = {}, required = [], ...rest } = schema as ParametersSchema
  const described = Object.entries(properties).map(([name, { examples, ...parameter }]) => [
    name,
    required.includes(name) || !examples
      ? { ...parameter, ...(examples && { examples }) }
      : { ...parameter, description: `${parameter.description} For example \`${String(examples[0])}\`.` },
  ])
  return { ...rest, required, properties: Object.fromEntries(described) as object }
}

type ParametersSchema = {
  readonly properties?: Readonly<Record<string, { readonly description: string; readonly examples?: unknown[] }>>
  readonly required?: readonly string[]
}

/** Adds what `@fastify/swagger` cannot express: headers, examples and problems. */
function complete(operation: OperationObject, described: Described): void {
  const { body, form, answers } = described.operation
  const media = Object.values(operation.requestBody?.content ?? {})
  if (body) for (const one of media) one.examples = body
  if (form && operation.requestBody) {
    const schema = { $ref: `#/components/schemas/${form.schema.$id ?? ''}` }
    operation.requestBody.content['multipart/form-data'] = { schema, examples: form.examples }
  }
  for (const parameter of operation.parameters ?? []) {
    // Sent as `NAME[KEY]=VALUE`.
    if (parameter.schema?.type === 'object') Object.assign(parameter, { style: 'deepObject', explode: true })
  }
  const successes = Object.entries(answers).map(([status, answer]) => [
    ...[status, successResponse(answer, operation.responses[status] ?? {}, described)],
  ])
  operation.responses = { ...problemResponses(described), ...(Object.fromEntries(successes) as object) }
}

/** Placeholder for the URL of the server, which is known from each request. */
const SERVER = 'SERVER_URL'

const intro = `A REST job server for lip-sync video: post a face (video or image) and speech, and fetch a video in which the face speaks.

    curl -s ${SERVER}/jobs -H 'content-type: application/json' \\
      -d '{"video_path": "face.mp4", "audio_path": "speech.wav"}'

A job is \`submitted\`, then \`running\`, then \`succeeded\`, \`failed\` or \`canceled\`. It finishes by its deadline at the latest.

## Requests

Unknown fields and parameters are refused, and so are values out of range: the server guesses and ignores nothing. JSON is UTF-8. Null for an optional field counts as absent, and so does an empty input of a form. A slash at the end of a path changes nothing.

Every path also exists below \`/v1\`: \`/v1/jobs\` is \`/jobs\`. Below \`/v1\` nothing will break; what may change without it before version 1.0 is in the changelog. Paths in answers, such as \`Location\` and \`links\`, have no \`/v1\`.

## Errors

Every error is a problem document (RFC 9457) with a stable \`code\`; its \`detail\` is for people, and its \`type\` leads to an explanation of the code. \`errors\` names every invalid field, with everything that is wrong with it. The list of codes is at the end of this page.

Every answer has an \`X-Request-Id\`: that of the request, if it is 1 to 128 characters of \`A-Z a-z 0-9 _ . ~ : = + @ - /\` and does not start with \`/\`, else a new one. The lines of the server's log have it as \`request_id\`, and problems in \`instance\`.
`

const access = `## Access

Send an API key or an access token as \`Authorization: Bearer ...\`, or an API key as \`X-API-Key\`, but not both. Each operation names the scope it needs; \`admin\` includes all scopes. You see and change only your own jobs: the job of another caller is \`job_not_found\`, like one that does not exist.
`

/** Every code and its meaning. The list is long, so it stands at the end. */
const codes = () =>
  PROBLEM_CODES.map((code) => `- \`${code}\` (${statusesOf(code).join(', ')}): ${PROBLEMS[code].when}`).join('\n')

/** How a request carries its credential. */
const SECURITY_SCHEMES = {
  bearer: {
    type: 'http',
    scheme: 'bearer',
    description: 'An API key, or an access token of the OpenID Connect issuer that the server trusts.',
  },
  apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key', description: 'An API key.' },
} as const

/** The part of the document about the server as a whole. */
const aboutServer = ({ authenticated }: { authenticated: boolean }) => ({
  info: {
    title: 'MuseTalk Orchestrator',
    version: packageJson.version,
    description: [intro, ...(authenticated ? [access] : [])].join('\n'),
    contact: { name: 'The operator of this server' },
    license: { name: 'MIT', identifier: 'MIT' },
  },
  servers: [{ url: '/', description: 'This server.' }],
  tags: [
    ...Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    { name: 'problems', description: codes() },
  ],
})
