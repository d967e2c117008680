import type { IncomingHttpHeaders } from 'node:http'
import type { Static } from '@sinclair/typebox'
import type { FastifyRequest, FastifySchemaValidationError } from 'fastify'
import type { NamedInput } from '../../jobs/job.ts'
import { parseIdempotencyKey, type NewJob } from '../../jobs/submit.ts'
import { readTraceparent } from '../../jobs/trace.ts'
import { type FieldError, invalidFields } from '../../problems.ts'
import { fieldErrorsOf } from '../plugins/bodies.ts'
import { Input, NewJobBody } from './submit-schema.ts'

/**
 * A submit as the core takes it. What the schema finds wrong goes along as `fieldErrors`, for the core to refuse together
 * with what it finds itself; the route therefore has `attachValidation`. Throws `invalid_request` where the body is no
 * object, or the `Idempotency-Key` is malformed.
 */
export function newJobOf(request: FastifyRequest): NewJob {
  const { headers, upload, formErrors } = request
  const fieldErrors = [...(formErrors ?? []), ...schemaErrorsOf(request)]
  const { input, options } = splitFields(validFieldsOf(request.body, fieldErrors))
  const key = headers['idempotency-key']
  const traceparent = traceparentOf(headers)
  return {
    ...{ version: 'v15', ...options },
    ...{ input, fieldErrors, isForm: formErrors !== null },
    ...(upload && { upload }),
    ...(key !== undefined && { idempotencyKey: parseIdempotencyKey(String(key)) }),
    ...(traceparent !== undefined && { traceparent }),
  }
}

type Fields = Static<typeof NewJobBody>
type Options = { [Name in keyof Fields as Name extends keyof NamedInput ? never : CamelCase<Name>]: Fields[Name] }
type CamelCase<Name extends string> = Name extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Name

/** The core has every option under the name of its field, in camel case. */
const OPTION_NAMES: ReadonlyMap<string, string> = new Map(
  Object.keys(NewJobBody.properties)
    .filter((field) => !(field in Input))
    .map((field) => [field, field.replace(/_([a-z])/g, (_match, letter: string) => letter.toUpperCase())]),
)

/** The face and the speech of a submit, and its options. */
function splitFields(fields: Fields): { input: NamedInput; options: Options } {
  const input: Record<string, unknown> = {}
  const options: Record<string, unknown> = {}
  for (const [field, value] of Object.entries(fields)) {
    const name = OPTION_NAMES.get(field)
    if (name === undefined) input[field] = value
    else options[name] = value
  }
  return { input, options }
}

/** What the route's schemas find wrong. A validator that fails is a defect, and no error of the request. */
function schemaErrorsOf(request: FastifyRequest): FieldError[] {
  const { validationError } = request
  if (!validationError) return []
  // Fastify's type of it is any.
  const errors = validationError.validation as FastifySchemaValidationError[] | undefined
  if (!errors) throw validationError
  // Fastify looks at the query only where the body is right.
  const check = request.getValidationFunction('querystring')
  const isQueryWrong = validationError.validationContext === 'body' && check && !check(request.query)
  return fieldErrorsOf(isQueryWrong ? [...errors, ...(check.errors ?? [])] : errors)
}

/** The fields that no error names: these are as the schema has them. */
function validFieldsOf(body: unknown, errors: readonly FieldError[]): Fields {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw invalidFields([...errors])
  if (errors.length === 0) return body
  const wrong = new Set(errors.map(({ path }) => path.split('/')[1]))
  return Object.fromEntries(Object.entries(body).filter(([name]) => !wrong.has(name)))
}

/** The trace that a request is a part of, where it says so. A malformed `traceparent` is as none. */
export const traceparentOf = ({ traceparent }: IncomingHttpHeaders): string | undefined =>
  traceparent === undefined ? undefined : readTraceparent(String(traceparent))
