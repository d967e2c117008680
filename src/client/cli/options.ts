import { parseArgs, type ParseArgsConfig } from 'node:util'
import type { Client } from '../index.ts'
import { messageOf, UsageError } from './failures.ts'
import { durationText, type Report } from './report.ts'

/** What a command works with. */
export type Session = {
  readonly client: Client
  /** URL of the server. */
  readonly url: string
  readonly report: Report
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal
}

/** A command of the command line: its help, and what it does with its arguments. */
export type Command = {
  readonly summary: string
  readonly help: string
  readonly run: (args: readonly string[], open: OpenSession) => Promise<void>
}

/** Opens the session of a command by the options that all commands have. */
export type OpenSession = (options: { url?: string | undefined; json?: boolean | undefined }) => Session

/** Shorter pauses, in ms, are not worth a line. */
const NOTED_PAUSE_MS = 1_000

/** Notes that the server is unavailable, before a pause. */
export const announcePauses =
  ({ report, url }: Session) =>
  (error: unknown, ms: number): void => {
    if (ms >= NOTED_PAUSE_MS) report.note(`${messageOf(error, url)}; trying again in ${durationText(ms)}`)
  }

type Options = NonNullable<ParseArgsConfig['options']>

/** The options of every command. */
const COMMON = { url: { type: 'string' }, json: { type: 'boolean' } } as const

/** Those of the jobs that a command submits. */
export const JOB_OPTIONS = {
  version: { type: 'string' },
  priority: { type: 'string' },
  parameter: { type: 'string', short: 'p', multiple: true },
  metadata: { type: 'string', short: 'm', multiple: true },
  timeout: { type: 'string' },
  'run-timeout': { type: 'string' },
  reuse: { type: 'boolean' },
  again: { type: 'boolean' },
} as const

export const COMMON_HELP = `  --url URL             the server; by default MUSETALK_URL, else http://localhost:9000
  --json                print one JSON object per line`

export const JOB_HELP = `  --version v15|v1      the MuseTalk model
  --priority P          low, normal or high among your own jobs
  -p, --parameter K=V   how MuseTalk makes the video, such as extra_margin=12; repeatable
  -m, --metadata K=V    a label of your own; repeatable
  --timeout SECONDS     longest time until the job finishes
  --run-timeout SECONDS longest time of the run at the backend
  --reuse               take the output of an identical job of yours
  --again               make new jobs, whatever was done before`

/** Options and operands of a command; more operands than names are refused unless the last ends with `...`. */
export function parse<T extends Options>(args: readonly string[], options: T, operands: readonly string[]) {
  const parsed = parseStrictly(args, { ...options, ...COMMON })
  const [missing] = operands.slice(parsed.positionals.length)
  if (missing !== undefined) throw new UsageError(`${missing.replace('...', '')} is missing`)
  const extra = parsed.positionals[operands.length]
  if (extra !== undefined && !operands.at(-1)?.endsWith('...')) throw new UsageError(`unexpected argument: ${extra}`)
  return parsed
}

function parseStrictly<T extends Options>(args: readonly string[], options: T) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true })
  } catch (error) {
    // Its first sentence; the others explain how to pass such an argument as an operand.
    throw new UsageError((error instanceof Error ? error.message : String(error)).split('. ')[0])
  }
}

/** `K=V` pairs; a later one of a key wins. */
export function pairsOf(texts: readonly string[] = [], option: string): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const at = text.indexOf('=')
      if (at < 1) throw new UsageError(`--${option} ${text}: must have the form KEY=VALUE`)
      return [text.slice(0, at), text.slice(at + 1)]
    }),
  )
}

/** A whole number in these bounds. */
export function wholeNumber(text: string | undefined, name: string, [least, most]: readonly [number, number]) {
  if (text === undefined) return undefined
  const number = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
  if (!(number >= least && number <= most))
    throw new UsageError(`${name} ${text}: must be a whole number from ${least} to ${most}`)
  return number
}

/** Of a job's timeouts, in seconds. */
export const TIMEOUTS = [1, 604_800] as const

type JobValues = {
  version?: string | undefined
  priority?: string | undefined
  parameter?: string[] | undefined
  metadata?: string[] | undefined
  timeout?: string | undefined
  'run-timeout'?: string | undefined
  reuse?: boolean | undefined
}

/** The options of jobs, read. */
export function jobOptionsOf(values: JobValues) {
  return {
    version: values.version,
    priority: values.priority,
    reuse: values.reuse,
    parameters: pairsOf(values.parameter, 'parameter'),
    metadata: pairsOf(values.metadata, 'metadata'),
    timeoutSeconds: wholeNumber(values.timeout, '--timeout', TIMEOUTS),
    runTimeoutSeconds: wholeNumber(values['run-timeout'], '--run-timeout', TIMEOUTS),
  }
}

/** With `--again`, what makes the keys of this run other than those of any before. */
export const saltOf = (again: boolean | undefined): string[] => (again ? [crypto.randomUUID()] : [])
