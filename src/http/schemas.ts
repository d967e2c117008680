import { Type } from '@sinclair/typebox'
import { Ajv, type AnySchemaObject, type ErrorObject, type KeywordDefinition, type ValidateFunction } from 'ajv'
import fastJsonStringify from 'fast-json-stringify'
import type { FastifySchemaCompiler, FastifySerializerCompiler, FastifyServerOptions } from 'fastify'
import { type FieldError, MAX_FIELD_ERRORS, PROBLEM_CODES } from '../problems.ts'

/** The type of JSON as Fastify sends it. */
export const JSON_TYPE = 'application/json; charset=utf-8'

/** One of several strings, as an `enum`: it reads better in the reference than a union of constants. */
export const OneOf = <const T extends string>(names: readonly T[], options: object = {}) =>
  Type.Unsafe<T>({ type: 'string', enum: names, ...options })

/** The documentation of a field in the reference: its meaning and an example. */
type Described<T> = { readonly description: string; readonly example: T }

/** A string with its description and an example; other JSON Schema keywords pass through. */
export const Text = ({ description, example, ...keywords }: Described<string> & Record<string, unknown>) =>
  Type.String({ description, examples: [example], ...keywords })

/** An integer likewise. */
export const Integer = ({ description, example, ...keywords }: Described<number> & Record<string, unknown>) =>
  Type.Integer({ description, examples: [example], ...keywords })

/** A time as text. The format is documentation; each time's parser checks it. */
export const Time = (described: Described<string>) => Text({ ...described, format: 'date-time' })

/** For routes without a query: any parameter is refused. */
export const NoQuery = Type.Object({}, { additionalProperties: false })

/** For routes that take no body: an empty object is accepted, since many clients send one. */
export const NoBody = Type.Union([Type.Null(), Type.Object({}, { additionalProperties: false })])

const FieldErrorReply = Type.Object(
  {
    path: Text({ description: 'The field, as a JSON Pointer (RFC 6901) into body or query.', example: '/version' }),
    message: Text({ description: 'What is wrong with it.', example: 'must be one of v15, v1' }),
    pointer: Text({ description: 'The same as `path`, as the fragment of a URI.', example: '#/version' }),
    detail: Text({ description: 'The same as `message`.', example: 'must be one of v15, v1' }),
  },
  { $id: 'FieldError', description: 'One invalid field.' },
)

/** An error answer (RFC 9457), with a stable `code` and, for invalid fields, `errors`. */
export const ProblemReply = Type.Object(
  {
    type: Text({
      description: 'Where the problem is explained, relative to this server: a URI for each code.',
      example: '/docs/problems#invalid_request',
      format: 'uri-reference',
    }),
    title: Text({ description: 'The name of the status.', example: 'Bad Request' }),
    status: Integer({ description: 'The HTTP status.', example: 400, minimum: 400, maximum: 599 }),
    detail: Text({ description: 'What went wrong, in a sentence.', example: 'version: must be one of v15, v1' }),
    instance: Type.Optional(
      Text({
        description: 'Names the request: `urn:request:` and the `X-Request-Id` of the answer.',
        example: 'urn:request:5f0c2b1a9d3e-1k',
        format: 'uri',
      }),
    ),
    code: OneOf(PROBLEM_CODES, {
      description: 'The stable name of the problem, for programs. New codes may be added.',
      examples: ['invalid_request'],
    }),
    errors: Type.Optional(
      Type.Array(FieldErrorReply, {
        description: 'Each invalid field, up to 20.',
        maxItems: MAX_FIELD_ERRORS,
        examples: [
          [
            {
              path: '/version',
              message: 'must be one of v15, v1',
              pointer: '#/version',
              detail: 'must be one of v15, v1',
            },
          ],
        ],
      }),
    ),
  },
  { $id: 'Problem', description: 'An error (RFC 9457), as application/problem+json.' },
)

const shared = {
  allErrors: true,
  removeAdditional: false,
  strict: false,
  // Formats are documentation; each field's parser checks it, with a better message.
  validateFormats: false,
  // The schemas are our own, and `npm run check:reference` checks them; compiling the schema of schemas delays the boot.
  ...{ meta: false, validateSchema: false },
} as const

const compilers = {
  bodies: new Ajv({ ...shared, coerceTypes: false }),
  texts: new Ajv({ ...shared, coerceTypes: 'array' }),
}

/**
 * Compiles request schemas: nothing is removed or guessed. Only what arrives as text anyway (query and path) is
 * turned into numbers and booleans. Ajv keeps what it has compiled, so a schema that many routes share, or many apps
 * of one process, is compiled once: by the first request that needs it, which takes some ms.
 */
export const compileValidator: FastifySchemaCompiler<object> = ({ schema, httpPart }) => {
  let compiled: ValidateFunction | undefined
  const validate: ReturnType<typeof compileValidator> = (data) => {
    compiled ??= (httpPart === 'body' ? compilers.bodies : compilers.texts).compile(schema)
    const isValid = compiled(data)
    validate.errors = compiled.errors ?? null
    return isValid
  }
  return validate
}

const serializers = new WeakMap<object, (data: unknown) => string>()

/**
 * Compiles reply schemas as Fastify does, but each once, for its first reply: nearly every route has those of the problems.
 * A reply of one of several schemas is written as it is: fast-json-stringify would have to validate it against each.
 */
export const compileSerializer: FastifySerializerCompiler<object> = ({ schema }) => {
  let serialize: ((data: unknown) => string) | undefined
  return (data) => {
    serialize ??= serializers.get(schema) ?? ('anyOf' in schema ? JSON.stringify : fastJsonStringify(schema))
    serializers.set(schema, serialize)
    return serialize(data)
  }
}

type CompilersFactory = NonNullable<NonNullable<FastifyServerOptions['schemaController']>['compilersFactory']>

/** Both compilers, in place of Fastify's own, which it would load at boot. Its types describe those, but it calls ours alike. */
export const schemaCompilers = {
  buildValidator: () => compileValidator,
  buildSerializer: () => compileSerializer,
} as unknown as CompilersFactory

/**
 * `nullIsAbsent: true`: an optional member that is null counts as absent, as some clients send every field. It is removed
 * before the other keywords apply; null for a required or unknown member stays.
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

/** Ajv's errors as field errors, one a field. */
export function fieldErrorsOf(errors: readonly SchemaError[]): FieldError[] {
  // A union, or a rule on names, reports itself after its cause, which is the better message.
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
    return { path: `${instancePath}${pointerTo(propertyName)}`, message: 'a key must have 1 to 64 characters' }
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
