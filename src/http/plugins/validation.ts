import { Ajv, type AnySchemaObject, type ErrorObject, type KeywordDefinition } from 'ajv'
import type { FastifySchemaCompiler } from 'fastify'
import type { FieldError } from '../../problems.ts'

const shared = {
  ...{ allErrors: true, removeAdditional: false, strict: false },
  // They tell readers of the reference what a text is; who takes it checks it, and says more than that it does not match.
  validateFormats: false,
} as const

/**
 * Compiles request schemas: nothing is removed or guessed. Only what arrives as text anyway (query and path) is
 * turned into numbers and booleans.
 */
export function createValidatorCompiler(): FastifySchemaCompiler<object> {
  const bodies = new Ajv({ ...shared, coerceTypes: false }).addKeyword(NULL_IS_ABSENT)
  const texts = new Ajv({ ...shared, coerceTypes: 'array' })
  return ({ schema, httpPart }) => (httpPart === 'body' ? bodies : texts).compile(schema)
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
