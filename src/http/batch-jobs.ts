import type { NewJob } from '../jobs/submit.ts'
import { invalidFields, type Problem, problem } from '../problems.ts'
import { namedJobOf } from './jobs/submit.ts'
import { NewJobBody } from './jobs/submit-schema.ts'
import { refusePrototype } from './plugins/bodies.ts'
import type { traceOf } from './plugins/request-log.ts'
import { compileValidator, fieldErrorsOf } from './schemas.ts'

const validateJob = compileValidator({ schema: NewJobBody, method: 'POST', url: '', httpPart: 'body' })

/** As JSON. Throws `invalid_json` if it is nested too deeply. */
function textOf(value: unknown, replace?: (name: string, member: unknown) => unknown): string {
  try {
    return JSON.stringify(value, replace)
  } catch (cause) {
    throw problem('invalid_json', { detail: 'The body is nested too deeply.', cause })
  }
}

/** For `JSON.stringify`: gives the members of objects one order. */
const inOrder = (_name: string, member: unknown) =>
  typeof member === 'object' && member !== null && !Array.isArray(member)
    ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
    : member

/** Throws if the defaults are wrong, which would be an error of each job. */
function checkDefaults(defaults: object, maxBytes: number) {
  const text = textOf(defaults)
  if (text.length > maxBytes)
    throw invalidFields([{ path: '/defaults', message: `must not have more than ${maxBytes} bytes` }])
  // A copy: the check removes what is null.
  if (validateJob(JSON.parse(text))) return
  // Without a path: what only the whole job can have.
  const errors = fieldErrorsOf(validateJob.errors ?? []).filter(({ path }) => path !== '')
  if (errors.length > 0) throw invalidFields(errors.map(({ path, message }) => ({ path: `/defaults${path}`, message })))
}

/** Characters of jobs that are checked in one turn of the event loop: that takes about 10 ms at most. */
const CHECKED_PER_TURN = 32 * 1024

/** The body of a batch. */
type BatchJobs = { readonly jobs: readonly Record<string, unknown>[]; readonly defaults?: Record<string, unknown> }

type JobsOptions = { readonly maxBytes: number; readonly trace: ReturnType<typeof traceOf> }

/** The jobs of a batch, each no larger than one that is submitted alone, and all that it is as text. */
export async function readJobs(body: BatchJobs, { maxBytes, trace }: JobsOptions) {
  const { jobs, defaults = {}, ...others } = body
  checkDefaults(defaults, maxBytes)
  const made: (NewJob | Problem)[] = []
  const texts = [textOf({ defaults, ...others }, inOrder)]
  let checked = 0
  for (const job of jobs) {
    const text = textOf(job)
    const isTooLarge = text.length > maxBytes
    // Before the check, which removes what is null.
    texts.push(isTooLarge ? text : textOf(job, inOrder))
    made.push(
      isTooLarge ? problem('body_too_large') : { ...newJobOf({ ...defaultsFor(job, defaults), ...job }), ...trace },
    )
    checked += text.length
    if (checked < CHECKED_PER_TURN) continue
    checked = 0
    await new Promise(setImmediate)
  }
  return { jobs: made, content: texts.join('\n') }
}

/** One job of a batch, as the core takes it, with the errors of its schema. */
function newJobOf(job: Record<string, unknown>): NewJob {
  const isValid = validateJob(job)
  return namedJobOf(job, isValid ? [] : fieldErrorsOf(validateJob.errors ?? []))
}

const isFace = (field: string) => /^(video|image)(_|$)/.test(field)
const isSpeech = (field: string) => /^audio(_|$)/.test(field)

/** The defaults without the face, or the speech, of which the job names another. */
function defaultsFor(job: object, defaults: Record<string, unknown>): Record<string, unknown> {
  const fields = Object.keys(job)
  const [hasFace, hasSpeech] = [fields.some(isFace), fields.some(isSpeech)]
  const kept = Object.entries(defaults).filter(
    ([field]) => !(hasFace && isFace(field)) && !(hasSpeech && isSpeech(field)),
  )
  return Object.fromEntries(kept)
}

/** One job a line; empty lines do not count. */
export function linesOf(text: string): unknown[] {
  const lines = text.split('\n').map((line) => line.trim())
  return lines.flatMap((line, n) => {
    if (line === '') return []
    try {
      return [JSON.parse(line, refusePrototype) as unknown]
    } catch {
      const detail = `Line ${n + 1} is not valid JSON, or has a key \`__proto__\` or \`constructor\`.`
      throw problem('invalid_json', { detail })
    }
  })
}
