import { dirname, resolve } from 'node:path'
import type { Job } from '../index.ts'
import { UsageError } from './failures.ts'
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
} from './options.ts'
import { openJournal } from './output-file.ts'
import { barLine, percentOf, progressLine, sizeText, stateText } from './report.ts'
import { createFiles, prepare } from './request.ts'
import { fetchOutput, startJob, type TaskDependencies, type Target, waitForJob } from './task.ts'

export const submit: Command = {
  summary: 'submit a job; with --wait and -o down to its video',
  help: `Usage: musetalk submit FACE SPEECH [--wait] [-o FILE] [options]

Submits a job and prints its id. FACE (video or image) and SPEECH are files, which are uploaded, http(s) URLs,
or server:PATH for a file that the server has. The same command again continues the same job: it uploads,
runs and downloads only what is missing, and starts a failed or canceled job again.

  -w, --wait            wait until the job finishes
  -o, --output FILE     wait, and save the video in this file
${JOB_HELP}
${COMMON_HELP}

  musetalk submit face.mp4 speech.wav --wait -o out.mp4`,
  async run(args, open) {
    const own = { wait: { type: 'boolean', short: 'w' }, output: { type: 'string', short: 'o' } } as const
    const { values, positionals } = parse(args, { ...JOB_OPTIONS, ...own }, ['FACE', 'SPEECH'])
    const [face = '', speech = ''] = positionals
    const job = { face, speech, folder: process.cwd(), ...jobOptionsOf(values) }
    const session = open(values)
    const { url, report } = session
    const prepared = await prepare(job, createFiles(), { url, more: saltOf(values.again) })
    const target = await targetOf(values.output)
    if (target && (await target.journal.isComplete(prepared.key, target.path))) {
      const id = target.journal.get(prepared.key).job_id
      report.note(`${target.path} is complete already; --again makes it anew`)
      print(session, { job_id: id, status: 'succeeded', output: target.path }, id ?? '')
      return
    }
    const dependencies = taskDependencies(session)
    const started = await startJob(prepared, dependencies, { target, isReached: false })
    const id = started.job_id
    if (!report.isJson) report.result(id)
    if (values.wait || target) await finish(session, id, { key: prepared.key, target }, dependencies)
  },
}

export const wait: Command = {
  summary: 'wait for a job; with -o save its video',
  help: `Usage: musetalk wait JOB [-o FILE] [options]

Waits until a job finishes.

  -o, --output FILE     save the video in this file
${COMMON_HELP}`,
  async run(args, open) {
    const { values, positionals } = parse(args, { output: { type: 'string', short: 'o' } }, ['JOB'])
    const [id = ''] = positionals
    const session = open(values)
    // An unknown job and an unreachable server are reported at once.
    await session.client.get(id, { signal: session.signal })
    await finish(session, id, { key: id, target: await targetOf(values.output) }, taskDependencies(session))
  },
}

async function targetOf(output: string | undefined): Promise<Target | undefined> {
  if (output === undefined) return undefined
  if (output === '') throw new UsageError('-o needs the name of a file')
  const path = resolve(output)
  return { path, journal: await openJournal(dirname(path)) }
}

type Rest = { readonly key: string; readonly target: Target | undefined }

/** From a job that the server has to its end, and its output. Says how to continue if it is interrupted. */
async function finish(session: Session, id: string, { key, target }: Rest, task: TaskDependencies): Promise<void> {
  const { report, signal } = session
  try {
    const job = await waitForJob(id, task)
    if (!target) return
    const size = await fetchOutput({ id, key, target }, task)
    print(session, { ...job, output: target.path, size })
    report.note(`${target.path}: ${sizeText(size)}`)
  } catch (error) {
    if (signal.aborted)
      report.note(`job ${id} goes on at the server: the same command continues, musetalk cancel stops it`)
    throw error
  }
}

/** A result as an object or a line. */
function print({ report }: Session, object: object, line?: string): void {
  report.data(object)
  if (line !== undefined && !report.isJson) report.result(line)
}

/** Between two looks at a job that runs, in ms. An answer without news has no body. */
const [TERMINAL_LOOK_MS, LOOK_MS] = [1_000, 5_000]

/** Shows the course of one job: a line that changes on a terminal, else a line for each change. */
function taskDependencies(session: Session): TaskDependencies {
  const { client, report, signal } = session
  const shown = createCourse()
  return {
    client,
    signal,
    lookMs: report.isTerminal ? TERMINAL_LOOK_MS : LOOK_MS,
    onPause: announcePauses(session),
    onJob(job) {
      const isFinished = job.status !== 'submitted' && job.status !== 'running'
      if (!isFinished) report.status(progressLine(job, Date.now(), report.columns))
      const line = shown(job)
      if (line === undefined) return
      report.data(job)
      if (isFinished || !report.isTerminal) report.note(line)
    },
    onBytes(received, total) {
      const percent = total ? Math.floor((received / total) * 100) : undefined
      report.status(barLine(percent, `downloading, ${sizeText(received)}`, report.columns))
    },
  }
}

/** Gives a line for each state of a job, and for each tenth that is done; undefined where nothing has changed. */
function createCourse(): (job: Job) => string | undefined {
  let last = ''
  return (job) => {
    const percent = percentOf(job)
    const tenth = percent === undefined ? undefined : Math.floor(percent / 10) * 10
    const line = `job ${job.job_id}: ${stateText(job)}${tenth === undefined ? '' : `, ${tenth} %`}`
    if (line === last) return undefined
    last = line
    return line
  }
}
