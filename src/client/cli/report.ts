import type { Job } from '../index.ts'

/** Where the command line writes: `process.stdout`, `process.stderr`. */
export type Output = {
  write(text: string): unknown
  readonly isTTY?: boolean
  readonly columns?: number
}

/** What the user sees: results on stdout; notes and progress on stderr. */
export type Report = {
  readonly isJson: boolean
  /** A line of the result. */
  result(text: string): void
  /** A result as an object, in a line; only with `--json`. */
  data(object: object): void
  /** A line for a person; without `--json`. */
  note(text: string): void
  /** A line that the next one replaces; on a terminal. */
  status(text: string): void
  /** Text that is no line, such as a log. */
  write(text: string): void
  warn(text: string): void
  readonly isTerminal: boolean
  readonly columns: number
}

const CLEAR = '\r\u001B[2K'

export function createReport({ stdout, stderr }: { stdout: Output; stderr: Output }, isJson: boolean): Report {
  const isTerminal = stderr.isTTY === true && !isJson
  let shown = ''
  // A terminal that does not know its width says 0.
  const columnsNow = () => (stderr.columns === undefined || stderr.columns === 0 ? 80 : stderr.columns)
  const clear = () => {
    if (shown !== '') stderr.write(CLEAR)
    shown = ''
  }
  const line = (output: Output, text: string) => {
    clear()
    output.write(`${withoutControls(text)}\n`)
  }
  return {
    isJson,
    isTerminal,
    get columns() {
      return columnsNow()
    },
    result: (text) => line(stdout, text),
    data: (object) => isJson && line(stdout, JSON.stringify(object)),
    note: (text) => !isJson && line(stderr, text),
    warn: (text) => line(stderr, `musetalk: ${text}`),
    write(text) {
      clear()
      stdout.write(text)
    },
    status(text) {
      const line = withoutControls(text).slice(0, columnsNow() - 1)
      if (!isTerminal || line === shown) return
      stderr.write(CLEAR + line)
      shown = line
    },
  }
}

/** A name or an error of somebody else's must not control the terminal. */
const withoutControls = (text: string) => text.replace(/\p{Cc}/gu, ' ')

/** `45 s`, `3 min`, `2 h 5 min`. */
export function durationText(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.round(seconds / 60)
  if (minutes < 60) return `${minutes} min`
  return minutes % 60 === 0 ? `${minutes / 60} h` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

export const sizeText = (bytes: number): string =>
  bytes < 1e6 ? `${Math.ceil(bytes / 1000)} KB` : `${(bytes / 1e6).toFixed(1)} MB`

const STAGES = { queued: 'waiting for the backend', starting: 'starting', running: 'running' } as const

/** Where a job is, without times: it changes only when the job gets on. */
export function stateText(job: Job): string {
  const { status, stage, queue_position: position, progress } = job
  if (status === 'submitted') return position === undefined ? 'queued' : `queued (position ${position})`
  if (status !== 'running') return status
  return progress?.step ?? (stage ? STAGES[stage] : 'running')
}

/** Percent of the step that a job is at; undefined if it is unknown. */
export const percentOf = ({ progress }: Job): number | undefined => progress?.percent

/** A line of a terminal: `[=======>            ]  38 % running, about 3 min left`. */
export function progressLine(job: Job, nowMs: number, columns: number): string {
  const percent = percentOf(job)
  const left = job.estimated_finish_at === undefined ? undefined : Date.parse(job.estimated_finish_at) - nowMs
  const elapsed = `${durationText(nowMs - Date.parse(job.created_at))} so far`
  const time = left === undefined ? elapsed : left > 0 ? `about ${durationText(left)} left` : 'about to finish'
  return barLine(percent, `${stateText(job)}, ${time}`, columns)
}

const BAR_WIDTH = 20

/** A bar, if the percentage is known and there is room, and a text. */
export function barLine(percent: number | undefined, text: string, columns: number): string {
  if (percent === undefined) return text
  const line = `${String(percent).padStart(3)} % ${text}`
  if (line.length + BAR_WIDTH + 4 > columns) return line
  const filled = Math.round((BAR_WIDTH * percent) / 100)
  const bar = filled === BAR_WIDTH ? '='.repeat(BAR_WIDTH) : `${'='.repeat(filled)}>`.padEnd(BAR_WIDTH)
  return `[${bar}] ${line}`
}
