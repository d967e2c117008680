import { Ajv, type ErrorObject } from 'ajv'
import type { FastifySchemaCompiler } from 'fastify'
import type { FieldFault } from '../errors.ts'

const shared = {
  ...{ allErrors: true, useDefaults: true, removeAdditional: false, strict: false },
  // They tell readers of the reference what a text is; who takes it checks it, and says more than that it does not match.
  validateFormats: false,
} as const

/**
 * Compiles request schemas: nothing is removed or guessed. Only what arrives as text anyway (query and path) is
 * turned into numbers and booleans.
 */
export function createValidatorCompiler(): FastifySchemaCompiler<object> {
  const bodies = new Ajv({ ...shared, coerceTypes: false })
  const texts = new Ajv({ ...shared, coerceTypes: 'array' })
  return ({ schema, httpPart }) => (httpPart === 'body' ? bodies : texts).compile(schema)
}

type SchemaError = Pick<ErrorObject, 'instancePath' | 'keyword' | 'message' | 'propertyName'> & {
  params: Record<string, unknown>
}

/** Ajv's errors as faults that each name the field as a caller would, one a field. */
export function faultsOf(errors: readonly SchemaError[]): FieldFault[] {
  // A union, or a rule on names, reports itself after what broke it; that says it better.
  const faults = errors.filter(({ keyword }) => keyword !== 'anyOf' && keyword !== 'propertyNames').map(faultOf)
  return [...new Map(faults.map((fault) => [fault.path, fault])).values()]
}

function faultOf({ instancePath, keyword, params, propertyName, message = 'is not valid' }: SchemaError): FieldFault {
  if (propertyName !== undefined) {
    return { path: `${instancePath}/${pointer(propertyName)}`, message: 'a key has 1 to 64 characters' }
  }
  switch (keyword) {
    case 'additionalProperties':
      return { path: `${instancePath}/${pointer(params.additionalProperty)}`, message: 'unknown field' }
    case 'required':
      return { path: `${instancePath}/${pointer(params.missingProperty)}`, message: 'is required' }
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

/** One reference token of a JSON Pointer (RFC 6901). */
const pointer = (name: unknown) => String(name).replaceAll('~', '~0').replaceAll('/', '~1')
