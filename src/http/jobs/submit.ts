import type { IncomingHttpHeaders } from 'node:http'
import type { Static } from '@sinclair/typebox'
import type { FastifyRequest, FastifySchemaValidationError } from 'fastify'
import { parseIdempotencyKey, type NewJob } from '../../jobs/submit.ts'
import { readTraceparent } from '../../jobs/trace.ts'
import { type FieldError, invalidFields } from '../../problems.ts'
import { fieldErrorsOf } from '../plugins/bodies.ts'
import type { NewJobBody } from './submit-schema.ts'

/**
 * A submit as the core takes it. What the schema finds wrong goes along as `fieldErrors`, for the core to refuse together
 * with what it finds itself; the route therefore has `attachValidation`. Throws `invalid_request` where the body is no
 * object, or the `Idempotency-Key` is malformed.
 */
export function newJobOf(request: FastifyRequest): NewJob {
  const { headers, upload, formErrors } = request
  const fieldErrors = [...(formErrors ?? []), ...schemaErrorsOf(request)]
  const {
    version = 'v15',
    metadata,
    timeout_seconds: timeoutSeconds,
    run_timeout_seconds: runTimeoutSeconds,
    webhook_url: webhookUrl,
    webhook_events: webhookEvents,
    ...input
  } = validFieldsOf(request.body, fieldErrors)
  const key = headers['idempotency-key']
  const traceparent = traceparentOf(headers)
  return {
    ...{ input, version, fieldErrors, isForm: formErrors !== null },
    ...(upload && { upload }),
    ...(metadata && { metadata }),
    ...(timeoutSeconds !== undefined && { timeoutSeconds }),
    ...(runTimeoutSeconds !== undefined && { runTimeoutSeconds }),
    ...(webhookUrl !== undefined && { webhookUrl }),
    ...(webhookEvents && { webhookEvents }),
    ...(key !== undefined && { idempotencyKey: parseIdempotencyKey(String(key)) }),
    ...(traceparent !== undefined && { traceparent }),
  }
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
function validFieldsOf(body: unknown, errors: readonly FieldError[]): Static<typeof NewJobBody> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw invalidFields([...errors])
  if (errors.length === 0) return body
  const wrong = new Set(errors.map(({ path }) => path.split('/')[1]))
  return Object.fromEntries(Object.entries(body).filter(([name]) => !wrong.has(name)))
}

/** The trace that a request is a part of, where it says so. A malformed `traceparent` is as none. */
export const traceparentOf = ({ traceparent }: IncomingHttpHeaders): string | undefined =>
  traceparent === undefined ? undefined : readTraceparent(String(traceparent))
