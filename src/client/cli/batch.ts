import { readFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { text as textOf } from 'node:stream/consumers'
import { isFatal, JobError, messageOf, UsageError } from './failures.ts'
import {
  announcePauses,
  COMMON_HELP,
  type Command,
  JOB_HELP,
  JOB_OPTIONS,
  jobOptionsOf,
  parse,
  saltOf,
  type Session,
  wholeNumber,
} from './options.ts'
import { type Journal, openJournal } from './output-file.ts'
import { barLine, durationText, sizeText } from './report.ts'
import { createFiles, prepare } from './request.ts'
import { parseRows, type Row } from './rows.ts'
import { type Made, makeOutput, type TaskDependencies } from './task.ts'

/** Jobs that one batch has at the server at a time. */
const CONCURRENCY = 8

export const batch: Command = {
  summary: 'make the videos of a CSV file',
  help: `Usage: musetalk batch FILE.csv --out DIR [--concurrency N] [options]

Makes a video of each row of a CSV file (RFC 4180, UTF-8; - for stdin). Its first line names the columns:

  face, speech          as for musetalk submit; files relative to the CSV file
  output                name of the video in DIR; by default that of the speech, with .mp4
  version, priority, timeout_seconds, run_timeout_seconds
  parameters.NAME       such as parameters.extra_margin
  metadata.NAME         a label of your own

A row that fails does not stop the others. The same command again does only what is missing: it continues the
jobs of an interrupted run, and starts failed ones again. DIR/.musetalk.jsonl remembers what was done.

  --out DIR             folder for the videos; it is created
  --concurrency N       jobs at the server at a time, 1 to 100; 8 by default
${JOB_HELP}
                        (for rows that do not say otherwise)
${COMMON_HELP}: one for each row, then { "summary": ... }`,
  async run(args, open) {
    const own = { out: { type: 'string' }, concurrency: { type: 'string' } } as const
    const { values, positionals } = parse(args, { ...JOB_OPTIONS, ...own }, ['FILE.csv'])
    const [file = ''] = positionals
    if (!values.out) throw new UsageError('--out is missing: the folder for the videos')
    const concurrency = wholeNumber(values.concurrency, '--concurrency', [1, 100]) ?? CONCURRENCY
    const rows = await readRows(file, jobOptionsOf(values))
    const session = open(values)
    // An unreachable server and a refused credential are reported once.
    await session.client.list({ limit: 1 }, { signal: session.signal })
    const out = resolve(values.out)
    await runRows(rows, session, {
      out,
      concurrency,
      journal: await openJournal(out),
      folder: file === '-' ? process.cwd() : dirname(resolve(file)),
      salt: saltOf(values.again),
    })
  },
}

async function readRows(file: string, defaults: ReturnType<typeof jobOptionsOf>): Promise<Row[]> {
  const reading = file === '-' ? textOf(process.stdin) : readFile(file, 'utf8')
  const text = await reading.catch((error: unknown) => {
    throw new UsageError(`${file}: cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`)
  })
  try {
    return parseRows(text, defaults)
  } catch (error) {
    throw error instanceof UsageError ? new UsageError(`${file}, ${error.message}`) : error
  }
}

type BatchOptions = {
  readonly out: string
  /** Where the files of the rows are. */
  readonly folder: string
  readonly concurrency: number
  readonly journal: Journal
  readonly salt: readonly string[]
}

type Counts = {
  succeeded: number
  complete: number
  failed: number
  running: number
  /** Epoch ms. */
  readonly startedAt: number
}

/** Rejects with a `JobError` if a row has failed, or with the error that all others would have too. */
async function runRows(rows: readonly Row[], session: Session, options: BatchOptions): Promise<void> {
  const { report, client } = session
  const counts: Counts = { succeeded: 0, complete: 0, failed: 0, running: 0, startedAt: Date.now() }
  const stop = new AbortController()
  const signal = AbortSignal.any([session.signal, stop.signal])
  const show = () => report.status(statusLine(counts, rows.length, { nowMs: Date.now(), columns: report.columns }))
  const task = { client, signal, onJob: show, onBytes: show, onPause: announcePauses(session) }
  const makeRow = createRowMaker(session, options, task)
  const waiting = rows.values()
  const work = async () => {
    for (const row of waiting) {
      signal.throwIfAborted()
      counts.running++
      show()
      const outcome = await makeRow(row).finally(() => counts.running--)
      counts[outcome]++
      show()
    }
  }
  const workers = Array.from({ length: options.concurrency }, work)
  try {
    await Promise.all(workers)
  } catch (error) {
    stop.abort()
    // Some may be writing what is done.
    await Promise.allSettled(workers)
    report.note(summaryOf(counts, rows.length))
    report.note('jobs at the server go on; the same command continues')
    throw error
  }
  report.data({ summary: { rows: rows.length, ...countsOf(counts) } })
  report.note(summaryOf(counts, rows.length))
  if (counts.failed > 0)
    throw new JobError(`${counts.failed} of ${rows.length} rows failed; the same command tries them again`)
}

/** Makes the video of a row, and reports what has become of it. Rejects only with what concerns all rows. */
function createRowMaker(session: Session, options: BatchOptions, task: TaskDependencies) {
  const { report, url } = session
  const { out, folder, journal, salt } = options
  const files = createFiles()
  return async ({ line, output, job }: Row): Promise<'succeeded' | 'complete' | 'failed'> => {
    const path = join(out, output)
    let key = ''
    try {
      const prepared = await prepare({ ...job, folder }, files, { url, more: [output, ...salt] })
      key = prepared.key
      const made = await makeOutput(prepared, { path, journal }, task)
      report.data({ line, output: path, status: 'succeeded', complete_before: made.wasComplete, ...idOf(journal, key) })
      report.note(`line ${line}: ${path} ${madeText(made)}`)
      return made.wasComplete ? 'complete' : 'succeeded'
    } catch (error) {
      task.signal.throwIfAborted()
      if (isFatal(error)) throw error
      const message = messageOf(error, url)
      report.data({ line, output: path, status: 'failed', error: message, ...idOf(journal, key) })
      report.note(`line ${line}: ${message}`)
      return 'failed'
    }
  }
}

const idOf = (journal: Journal, key: string) => {
  const { job_id } = journal.get(key)
  return job_id === undefined ? {} : { job_id }
}

const madeText = ({ wasComplete, size = 0 }: Made) => (wasComplete ? 'is complete already' : `(${sizeText(size)})`)

const countsOf = ({ succeeded, complete, failed }: Counts) => ({ succeeded, complete_before: complete, failed })

function summaryOf({ succeeded, complete, failed }: Counts, rows: number): string {
  const missing = rows - succeeded - complete - failed
  const parts = [
    `${succeeded} made`,
    ...(complete > 0 ? [`${complete} complete before`] : []),
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(missing > 0 ? [`${missing} not finished`] : []),
  ]
  return `${rows} rows: ${parts.join(', ')}`
}

/** The line of a terminal that shows how far a batch is. */
export function statusLine(
  counts: Counts,
  rows: number,
  { nowMs, columns }: { nowMs: number; columns: number },
): string {
  const done = counts.succeeded + counts.complete + counts.failed
  const failed = counts.failed > 0 ? `, ${counts.failed} failed` : ''
  // At the pace of this run; rows that were complete before took no time.
  const leftMs = ((nowMs - counts.startedAt) / counts.succeeded) * (rows - done)
  const left = counts.succeeded > 0 && done < rows ? `, about ${durationText(leftMs)} left` : ''
  const percent = rows === 0 ? 100 : Math.floor((done / rows) * 100)
  return barLine(percent, `${done} of ${rows} done, ${counts.running} at the server${failed}${left}`, columns)
}
