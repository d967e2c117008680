import type { Client, Job } from '../index.ts'
import { pause } from '../transport.ts'
import { isFatal, messageOf, UNREACHABLE_MS, retryTransient, UsageError } from './failures.ts'
import { announcePauses, COMMON_HELP, type Command, parse, type Session, wholeNumber } from './options.ts'
import { percentOf, stateText } from './report.ts'

const STATUSES = ['submitted', 'running', 'succeeded', 'failed', 'canceled'] as const
/** The most jobs of one page. */
const PAGE = 100

export const list: Command = {
  summary: 'list your jobs',
  help: `Usage: musetalk list [--status STATUS] [--limit N] [options]

Lists your jobs, the newest first: id, status, time of the submit, face and speech, and the error of a failed one.

  --status STATUS       only ${STATUSES.slice(0, -1).join(', ')} or ${STATUSES.at(-1)} jobs
  --limit N             at most so many; 20 by default
${COMMON_HELP}`,
  async run(args, open) {
    const { values } = parse(args, { status: { type: 'string' }, limit: { type: 'string' } }, [])
    const status = STATUSES.find((name) => name === values.status)
    if (values.status !== undefined && status === undefined)
      throw new UsageError(`--status ${values.status}: must be one of ${STATUSES.join(', ')}`)
    let left = wholeNumber(values.limit, '--limit', [1, 1_000_000]) ?? 20
    const { client, report, signal } = open(values)
    for await (const { jobs } of client.pages({ status, limit: Math.min(left, PAGE) }, { signal })) {
      for (const job of jobs.slice(0, left)) {
        if (report.isJson) report.data(job)
        else report.result(rowOf(job))
      }
      left -= jobs.length
      if (left <= 0) return
    }
  },
}

function rowOf(job: Job): string {
  const percent = percentOf(job)
  const state = stateText(job) + (percent === undefined ? '' : ` ${percent} %`)
  const { video, image, audio, ...named } = job.input
  const inputs = [...Object.values(named), video ?? image, audio].flatMap((input) =>
    input === undefined ? [] : [typeof input === 'object' ? `(${input.type})` : input],
  )
  const error = job.error === undefined ? '' : `  ${job.error_code ?? 'unknown'}: ${job.error}`
  return `${job.job_id}  ${state.padEnd(10)}  ${job.created_at.slice(0, 19)}Z  ${inputs.join(' + ')}${error}`
}

export const cancel: Command = {
  summary: 'cancel jobs',
  help: `Usage: musetalk cancel JOB... [options]

Cancels jobs and stops their runs. A job that cannot be canceled does not stop the others.

${COMMON_HELP}`,
  async run(args, open) {
    const { values, positionals } = parse(args, {}, ['JOB...'])
    const session = open(values)
    let failures = 0
    for (const id of positionals) {
      try {
        await cancelJob(session, id)
      } catch (error) {
        session.signal.throwIfAborted()
        if (positionals.length === 1 || isFatal(error)) throw error
        failures++
        session.report.data({ job_id: id, error: messageOf(error, session.url) })
        session.report.warn(`${id}: ${messageOf(error, session.url)}`)
      }
    }
    if (failures > 0) throw new Error(`${failures} of ${positionals.length} jobs could not be canceled`)
  },
}

async function cancelJob({ client, report, signal }: Session, id: string): Promise<void> {
  const job = await client.cancel(id, { signal })
  report.data(job)
  if (!report.isJson) report.result(`${id} ${job.status}`)
}

/** Without `-f`: how long to wait for the first output and for more of it, in ms. */
const FIRST_OUTPUT_MS = 5_000
const SILENCE_MS = 1_000
/** Between two looks at a job that has no output yet, in ms. */
const NEXT_LOOK_MS = 1_000

export const logs: Command = {
  summary: 'show the output of a job',
  help: `Usage: musetalk logs JOB [-f] [--attempt N] [options]

Prints the output of a job's current attempt so far.

  -f, --follow          go on until the job finishes, over interrupted attempts
  --attempt N           of this attempt
${COMMON_HELP}`,
  async run(args, open) {
    const own = { follow: { type: 'boolean', short: 'f' }, attempt: { type: 'string' } } as const
    const { values, positionals } = parse(args, own, ['JOB'])
    const [id = ''] = positionals
    const attempt = wholeNumber(values.attempt, '--attempt', [1, 1_000_000])
    const session = open(values)
    if (values.follow) await followLogs(session, id, attempt)
    else await printLogs(session, id, attempt)
  },
}

/** Prints a piece of a log, or with `--json` its lines as objects. */
function createPrinter({ report }: Session) {
  let rest = ''
  const line = (text: string) => report.data({ line: text })
  return {
    piece(text: string) {
      if (!report.isJson) {
        report.write(text)
        return
      }
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      lines.forEach(line)
    },
    finish() {
      if (rest !== '') line(rest)
      rest = ''
    },
  }
}

/** What there is now: an attempt that runs has no end of its log yet. */
async function printLogs(session: Session, id: string, attempt: number | undefined): Promise<void> {
  const stop = new AbortController()
  const signal = AbortSignal.any([session.signal, stop.signal])
  const { piece, finish } = createPrinter(session)
  let timer = setTimeout(() => stop.abort(), FIRST_OUTPUT_MS)
  try {
    for await (const text of session.client.logs(id, { attempt, signal })) {
      clearTimeout(timer)
      piece(text)
      timer = setTimeout(() => stop.abort(), SILENCE_MS)
    }
  } catch (error) {
    if (!stop.signal.aborted || session.signal.aborted) throw error
  } finally {
    clearTimeout(timer)
    finish()
  }
}

async function followLogs(session: Session, id: string, wanted: number | undefined): Promise<void> {
  const { client, signal } = session
  const { piece, finish } = createPrinter(session)
  const retrying = { signal, onPause: announcePauses(session), unreachableMs: UNREACHABLE_MS }
  // An unknown job and an unreachable server are reported at once.
  let attempt = wanted ?? lastAttempt(await client.get(id, { signal }))
  for (let printed = { length: 0 }; ;) {
    await retryTransient(() => readOn(client, { id, attempt, signal }, printed, piece), retrying)
    const job = await retryTransient(() => client.get(id, { signal }), retrying)
    const isFinished = job.status !== 'submitted' && job.status !== 'running'
    if (wanted === undefined && lastAttempt(job) > attempt) {
      attempt++
      printed = { length: 0 }
    } else if (isFinished || wanted !== undefined) break
    else await pause(NEXT_LOOK_MS, signal)
  }
  finish()
}

const lastAttempt = ({ attempts }: Job) => attempts.at(-1)?.attempt ?? 1

type LogPlace = { readonly id: string; readonly attempt: number; readonly signal: AbortSignal }

/** A log starts at its beginning each time it is opened: what was printed is left out. */
async function readOn(
  client: Client,
  { id, attempt, signal }: LogPlace,
  printed: { length: number },
  print: (text: string) => void,
): Promise<void> {
  let read = 0
  for await (const text of client.logs(id, { attempt, signal })) {
    const fresh = text.slice(Math.max(0, printed.length - read))
    read += text.length
    printed.length = Math.max(printed.length, read)
    if (fresh !== '') print(fresh)
  }
}
