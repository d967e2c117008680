import fastJsonStringify from 'fast-json-stringify'
import type { FastifyInstance, FastifySchemaCompiler, FastifySerializerCompiler } from 'fastify'
import { type FieldError, problem } from '../../problems.ts'
import type { Refusal } from './refusals.ts'
import { Ajv, type AnySchemaObject, type ErrorObject, type KeywordDefinition } from 'ajv'

const unsupported = (message: string) => problem('unsupported_media_type', { detail: message })

/**
 * What the server reads: JSON in UTF-8, not compressed. An empty JSON body counts as none, since many clients name the
 * type on every request; whether a body is needed is the schema's to say.
 */
export function registerBodies(app: FastifyInstance): void {
  app.removeContentTypeParser(['text/plain', 'application/json'])
  const parseJson = app.getDefaultJsonParser('error', 'error')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    const charset = /charset\s*=\s*"?([^\s;"]+)/i.exec(request.headers['content-type'] ?? '')?.[1]
    if (charset !== undefined && !/^utf-?8$/i.test(charset)) done(unsupported('JSON is read in UTF-8 only.'))
    else if (body === '') done(null, undefined)
    else void parseJson(request, body as string, done)
  })
}

const malformed = (message: string) => problem('malformed_request', { detail: message })

/**
 * Refuses a request without a host, or with two (RFC 9112 3.2), and one with two credentials (RFC 9110 5.3): a proxy and
 * this server may each take it for another one. Node's `headers` keep the first of several only.
 */
export const ambiguousHeaderRefusal: Refusal = ({ headers, raw }) => {
  if (headers.host === undefined && raw.httpVersion === '1.1') return malformed('The Host header is missing.')
  const { rawHeaders } = raw
  let [hosts, credentials] = [0, 0]
  for (let n = 0; n < rawHeaders.length; n += 2) {
    const name = rawHeaders[n] ?? ''
    if (name.length === 4 && name.toLowerCase() === 'host') hosts++
    if (name.length === 13 && name.toLowerCase() === 'authorization') credentials++
  }
  if (hosts > 1) return malformed('There is more than one Host header.')
  return credentials > 1 ? malformed('There is more than one Authorization header.') : undefined
}

/** As Node recognizes it. */
const CONTINUE = /(?:^|\W)100-continue(?:$|\W)/i

/** Lets requests with an expectation that Node does not know go the way of all others, up to `headRefusal`. */
export function admitExpectations(app: FastifyInstance): void {
  app.server.on('checkExpectation', (request, response) => app.server.emit('request', request, response))
}

/** What of a request is no good before its body is looked at (RFC 9110 8.4, 10.1.1). */
export const headRefusal: Refusal = ({ headers, raw }) => {
  const { 'content-encoding': encoding, expect } = headers
  // HTTP/1.0 knows none, and takes no notice.
  const isUnknown = expect !== undefined && raw.httpVersion === '1.1' && !CONTINUE.test(expect)
  if (isUnknown) return problem('expectation_failed')
  return encoding !== undefined && encoding !== 'identity' ? unsupported('Compressed bodies are not read.') : undefined
}

const shared = {
  ...{ allErrors: true, removeAdditional: false, strict: false },
  // Formats are for readers of the reference; the parser of each field checks it, with a better message.
  validateFormats: false,
} as const

const compilers = {
  bodies: new Ajv({ ...shared, coerceTypes: false }),
  texts: new Ajv({ ...shared, coerceTypes: 'array' }),
}

/**
 * Compiles request schemas: nothing is removed or guessed. Only what arrives as text anyway (query and path) is
 * turned into numbers and booleans. Ajv keeps what it has compiled, so a schema that many routes share, or many apps
 * of one process, is compiled once.
 */
export const compileValidator: FastifySchemaCompiler<object> = ({ schema, httpPart }) =>
  (httpPart === 'body' ? compilers.bodies : compilers.texts).compile(schema)

const serializers = new WeakMap<object, (data: unknown) => string>()

/** Compiles reply schemas as Fastify does, but each once: nearly every route has those of the problems. */
export const compileSerializer: FastifySerializerCompiler<object> = ({ schema }) => {
  const serialize = serializers.get(schema) ?? fastJsonStringify(schema)
  serializers.set(schema, serialize)
  return serialize
}

/**
 * `nullIsAbsent: true` takes an optional member that is null for one that is not there, as clients write it who have a
 * field for everything. It is removed before the rest of the schema looks; null for a required or unknown one stays.
 */
const NULL_IS_ABSENT: KeywordDefinition = {
  keyword: 'nullIsAbsent',
  type: 'object',
  schemaType: 'boolean',
  modifying: true,
  before: 'maxProperties',
  errors: false,
  compile: (_isOn, { properties = {}, required = [], additionalProperties }: AnySchemaObject) => {
    const isOptional = (name: string) =>
      Object.hasOwn(properties as object, name)
        ? !(required as string[]).includes(name)
        : typeof additionalProperties === 'object'
    return (data: Record<string, unknown>) => {
      for (const name of Object.keys(data)) {
        // `__proto__` is refused where JSON is read.
        if (data[name] === null && isOptional(name)) Reflect.deleteProperty(data, name)
      }
      return true
    }
  },
}

compilers.bodies.addKeyword(NULL_IS_ABSENT)

type SchemaError = Pick<ErrorObject, 'instancePath' | 'keyword' | 'message' | 'propertyName'> & {
  params: Record<string, unknown>
}

/** Ajv's errors with the names of fields that a client knows, one a field. */
export function fieldErrorsOf(errors: readonly SchemaError[]): FieldError[] {
  // A union, or a rule on names, reports itself after what broke it; that says it better.
  const found = errors.filter(({ keyword }) => keyword !== 'anyOf' && keyword !== 'propertyNames').map(fieldErrorOf)
  return [...new Map(found.map((error) => [error.path, error])).values()]
}

function fieldErrorOf({
  instancePath,
  keyword,
  params,
  propertyName,
  message = 'is not valid',
}: SchemaError): FieldError {
  if (propertyName !== undefined) {
    return { path: `${instancePath}${pointerTo(propertyName)}`, message: 'a key has 1 to 64 characters' }
  }
  switch (keyword) {
    case 'additionalProperties':
      return { path: `${instancePath}${pointerTo(params.additionalProperty)}`, message: 'unknown field' }
    case 'required':
      return { path: `${instancePath}${pointerTo(params.missingProperty)}`, message: 'is required' }
    case 'enum':
      return { path: instancePath, message: `must be one of ${(params.allowedValues as string[]).join(', ')}` }
    case 'maxLength':
      return { path: instancePath, message: `must be at most ${String(params.limit)} characters` }
    case 'minLength':
      return { path: instancePath, message: 'must not be empty' }
    default:
      return { path: instancePath, message }
  }
}

/** A member of an object, as the end of a JSON Pointer (RFC 6901). */
export const pointerTo = (name: unknown): string => `/${String(name).replaceAll('~', '~0').replaceAll('/', '~1')}`
