import { setTimeout as sleep } from 'node:timers/promises'
import type { JobView } from '../../src/jobs/view.ts'
import type { LogLine } from '../helpers/log.ts'
import type { ServerProcess } from '../helpers/server.ts'

const LOOK_EVERY_MS = 500
/** A sign of life while nothing changes, in ms. */
const REASSURE_EVERY_MS = 30_000

/** Prints a line: a state or a log level, and a text. */
type Print = (topic: string, text: string) => void

/** Prints each state of a job once, and the warnings of its server; resolves with the job when it has finished. */
export async function follow(server: ServerProcess, id: string, print: Print): Promise<JobView> {
  let printed = 0
  let warned = 0
  let printedAt = performance.now()
  for (;;) {
    const job = await server.job(id)
    const warnings = server.lines.filter(isWarning)
    const states = statesOf(job)
    const news = [...warnings.slice(warned).map(warningOf), ...states.slice(printed)]
    warned = warnings.length
    printed = states.length
    if (news.length === 0 && performance.now() - printedAt > REASSURE_EVERY_MS) news.push(['', `still ${job.status}`])
    if (news.length > 0) printedAt = performance.now()
    for (const [topic, text] of news) print(topic, text)
    if (job.finished_at !== undefined) return job
    await sleep(LOOK_EVERY_MS)
  }
}

/** The states a job has been in, oldest first, each attempt's call as a state of its own. */
function statesOf(job: JobView): [string, string][] {
  const calls = job.attempts.flatMap(({ call_id: callId }) => callId ?? [])
  return [
    ['submitted', `job ${job.job_id}`],
    ...calls.map((callId): [string, string] => ['running', `call ${callId}`]),
    ...(job.finished_at === undefined ? [] : [[job.status, job.output_path ?? ''] satisfies [string, string]]),
  ]
}

/** Changes of the job that are logged as warnings: its states are printed anyway. */
const CHANGES = new Set<unknown>(['failed', 'expired', 'interrupted'])
const isWarning = ({ level, event }: LogLine) => ['warn', 'error', 'fatal'].includes(level) && !CHANGES.has(event)

function warningOf({ level, msg, reason, err }: LogLine): [string, string] {
  const why = reason ?? (err as Error | undefined)?.message
  return [level, typeof why === 'string' ? `${msg}: ${why}` : msg]
}
