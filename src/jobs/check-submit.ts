import type { Backend } from './ports/backend.ts'
import { type FieldError, invalidFields, problem } from '../problems.ts'
import { checkInput } from './input.ts'
import type { JobInput } from './job.ts'
import { checkWebhook, type WebhookOptions } from './webhooks/options.ts'
import type { Outbox } from './webhooks/outbox.ts'

/** The part of a submit that can be wrong. */
export type SubmitFields = WebhookOptions & {
  readonly input: JobInput
  /** Errors found before the core saw the submit: fields of the wrong type, unknown ones. Those are not in the input. */
  readonly fieldErrors?: readonly FieldError[]
  /** Whether it came as a form, in which files can come along. */
  readonly isForm?: boolean
}

export type SubmitChecks = {
  readonly backend: Pick<Backend, 'check'>
  readonly webhooks: Pick<Outbox, 'secretsOf' | 'check'>
}

/**
 * Refuses a submit with all of its errors, so that its caller can fix them at once: one entry a field.
 * Throws `invalid_request` (`invalid_request`; `url_not_allowed` where nothing but URLs is wrong) or `webhooks_not_configured`.
 */
export function checkSubmit(fields: SubmitFields, callerId: string, { backend, webhooks }: SubmitChecks): void {
  const { input, webhookUrl, fieldErrors = [], isForm = false } = fields
  const ofForm = [
    ...fieldErrors,
    ...checkInput(input, { found: fieldErrors, canHaveFiles: isForm }),
    ...checkWebhook(fields, fieldErrors),
  ]
  const urlError = webhookUrl === undefined ? undefined : webhooks.check(webhookUrl)
  const ofAdapters = [
    ...backend.check(input),
    ...(urlError === undefined ? [] : [{ path: '/webhook_url', message: urlError }]),
  ]
  const isUnsigned = webhookUrl !== undefined && webhooks.secretsOf(callerId).length === 0
  if (ofForm.length === 0 && ofAdapters.length === 0 && !isUnsigned) return

  const unsigned = problem('webhooks_not_configured', { status: 400 })
  const errors = mergeByField([...ofForm, ...(isUnsigned ? (unsigned.errors ?? []) : [])], ofAdapters)
  if (ofForm.length > 0 || !ofAdapters.every(isOfUrl)) throw invalidFields(errors)
  if (!isUnsigned) throw invalidFields(errors, 'url_not_allowed')
  throw errors.length > 1 ? invalidFields(errors) : unsigned
}

const isOfUrl = ({ path }: FieldError) => path.endsWith('_url')

/** One entry a field. `ofAdapters` says nothing of a field that is wrong anyway. */
function mergeByField(errors: readonly FieldError[], ofAdapters: readonly FieldError[]): FieldError[] {
  const messages = new Map<string, string[]>()
  for (const { path, message } of errors) messages.set(path, [...(messages.get(path) ?? []), message])
  for (const { path, message } of ofAdapters) if (!messages.has(path)) messages.set(path, [message])
  return [...messages].map(([path, ofField]) => ({ path, message: ofField.join('; ') }))
}
