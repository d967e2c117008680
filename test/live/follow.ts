import { setTimeout as sleep } from 'node:timers/promises'
import type { JobView } from '../../src/jobs/view.ts'
import type { LogLine } from '../helpers/log.ts'
import type { ServerProcess } from '../helpers/server.ts'

const LOOK_EVERY_MS = 500
/** A sign of life while nothing changes, in ms. */
const REASSURE_EVERY_MS = 30_000

/** What is told: a state or a level, and words about it. */
type Tell = (topic: string, words: string) => void

/** Tells each state of a job once, and what its server warns of meanwhile; resolves with the job when it has ended. */
export async function follow(server: ServerProcess, id: string, tell: Tell): Promise<JobView> {
  let told = 0
  let warned = 0
  let toldAt = performance.now()
  for (;;) {
    const job = await server.job(id)
    const warnings = server.lines.filter(isWarning)
    const states = statesOf(job)
    const news = [...warnings.slice(warned).map(warningOf), ...states.slice(told)]
    warned = warnings.length
    told = states.length
    if (news.length === 0 && performance.now() - toldAt > REASSURE_EVERY_MS) news.push(['', `still ${job.status}`])
    if (news.length > 0) toldAt = performance.now()
    for (const [topic, words] of news) tell(topic, words)
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

// That the job changed is told from the job itself.
const isWarning = ({ level, msg }: LogLine) => ['warn', 'error', 'fatal'].includes(level) && msg !== 'job changed'

function warningOf({ level, msg, reason, err }: LogLine): [string, string] {
  const why = reason ?? (err as Error | undefined)?.message
  return [level, typeof why === 'string' ? `${msg}: ${why}` : msg]
}
