import { hash } from 'node:crypto'
import type { MediaReading, Outputs, SucceededJob } from './ports/files.ts'
import { contentLabel, type JobStore } from './ports/store.ts'
import { currentAttempt, isFinished, type Job, type JobInput, PARAMETER_NAMES, type UploadedFile } from './job.ts'
import { createThrottledWarning, errorFieldsOf, type Log, logFieldsOf } from './log.ts'
import { FACES_WITH_FILES, SPEECHES_WITH_FILES } from './submit.ts'
import type { JobChange, Transitions } from './transition.ts'

export type ReuseDependencies = Pick<Transitions, 'transition'> & {
  readonly store: Pick<JobStore, 'list'>
  readonly outputs: Pick<Outputs, 'has' | 'share'>
  readonly log: Log
}

/**
 * Gives jobs that allow it the output of an identical job of their caller, so that nobody pays twice. Such a job is stored
 * as one that waits, and whether it gets an output, goes on waiting or runs is decided after that, from the store alone:
 * of several identical submits at the same time, on any replicas, one runs.
 */
export type Reuse = {
  /** The newest identical job that has succeeded and whose output is still there. Rejects as the store does. */
  find(job: Job): Promise<SucceededJob | undefined>
  /**
   * Decides about all jobs that wait for the same content as this job. Never rejects: what fails is logged, and the
   * reconciler repeats it.
   */
  settle(job: Job): Promise<void>
  /** To be called after each change. The promise of a job that starts to wait resolves once it is decided about. */
  observe(change: JobChange): void | Promise<void>
  /** Waits for decisions in progress. Idempotent. */
  close(): Promise<void>
}

/** Jobs that wait read at once, and jobs that get an output at the same time. */
const PAGE_SIZE = 100
/** How many identical jobs are asked for their output; those of others are probably gone too. */
const SOURCES = 5

export function createReuse({ store, outputs, transition, log }: ReuseDependencies): Reuse {
  /** By content: the decision in progress, and the one after it. */
  const current = new Map<string, Promise<void>>()
  const next = new Map<string, Promise<void>>()
  const warnRarely = createThrottledWarning(log)

  /** Of the same content, the newest first. */
  const list = ({ caller, contentKey = '' }: Job, role: Parameters<typeof contentLabel>[0], page: Page) =>
    store.list({ caller, labels: [contentLabel(role, contentKey)], ...page })

  const find = async (job: Job): Promise<SucceededJob | undefined> => {
    if (job.contentKey === undefined) return undefined
    for (const source of await list(job, 'output', { limit: SOURCES })) {
      if (hasOutput(source) && (await outputs.has(source))) return source
    }
    return undefined
  }

  const isRunning = async (job: Job) => (await list(job, 'run', { limit: 1 })).length > 0

  const findWaiting = async (job: Job): Promise<Job[]> => {
    const waiting: Job[] = []
    for (let page: Job[], after: Job | undefined; ; after = page.at(-1)) {
      page = await list(job, 'wait', { limit: PAGE_SIZE, ...(after && { after }) })
      waiting.push(...page)
      if (page.length < PAGE_SIZE) return waiting
    }
  }

  const give = async (source: SucceededJob, job: Job) => {
    const output = await outputs.share(source, job)
    if (!output) return
    const { attempt } = currentAttempt(job)
    await transition(job, { type: 'reused', attempt, from: source.reusedFrom ?? source.id, ...output })
  }

  /** An error of one job must not keep the others waiting. */
  const attemptJob = (job: Job, work: Promise<unknown>) =>
    work.catch((error: unknown) =>
      warnRarely({ ...logFieldsOf(job), ...errorFieldsOf(error), event: 'reuse_not_decided' }, NOT_SETTLED),
    )

  const giveAll = async (source: SucceededJob, waiting: readonly Job[]) => {
    for (let n = 0; n < waiting.length; n += PAGE_SIZE) {
      await Promise.all(waiting.slice(n, n + PAGE_SIZE).map((job) => attemptJob(job, give(source, job))))
    }
  }

  const decide = async (job: Job) => {
    // The common case, whatever their number: the end of that run decides about all of them.
    if ((await isRunning(job)) && !(await find(job))) return
    // In this order: a job whose run has ended meanwhile is seen to have an output. One that was released meanwhile makes
    // the store refuse the release of another.
    const waiting = await findWaiting(job)
    const oldest = waiting.at(-1)
    if (!oldest) return
    const hasRun = await isRunning(job)
    const source = await find(job)
    if (source) return giveAll(source, waiting)
    if (!hasRun) await transition(oldest, { type: 'released', attempt: currentAttempt(oldest).attempt })
  }

  /** Jobs of one content share the next decision: the one in progress may have missed them. */
  const settle = (job: Job): Promise<void> => {
    const { contentKey = '' } = job
    const joined = next.get(contentKey)
    if (joined) return joined
    const decided = (current.get(contentKey) ?? Promise.resolve()).then(async () => {
      next.delete(contentKey)
      current.set(contentKey, decided)
      await attemptJob(job, decide(job))
      if (current.get(contentKey) === decided) current.delete(contentKey)
    })
    next.set(contentKey, decided)
    return decided
  }

  return {
    find,
    settle,
    observe({ before, after, event }) {
      const startsToWait = after.isWaiting && !before?.isWaiting
      // One settlement gives the output to all waiting jobs.
      const hasEnded = isFinished(after) && before && !isFinished(before) && event?.type !== 'reused'
      if (after.contentKey === undefined || (!startsToWait && !hasEnded)) return undefined
      const settled = settle(after)
      return startsToWait ? settled : undefined
    },
    async close() {
      await Promise.all([...current.values(), ...next.values()])
    },
  }
}

type Page = Pick<Parameters<JobStore['list']>[0], 'limit' | 'after'>

const hasOutput = (job: Job): job is SucceededJob => job.outputPath !== undefined

const NOT_SETTLED = 'cannot decide about jobs that wait for an identical one; the reconciler will retry'

/** `engine`: what makes the videos. `contents`: see `MediaReading`. */
export type ContentOf = { readonly engine: string; readonly contents: MediaReading['contents'] | undefined }

/** The job with the key of its content, if that is known; it waits if it allows an output of an identical job. */
export function withContentKey(job: Job, known: ContentOf): Job {
  const contentKey = contentKeyOf(job, known)
  return contentKey === undefined ? job : { ...job, contentKey, ...(job.reuse && { isWaiting: true }) }
}

/** SHA-256 over all that makes a video what it is, and the caller; undefined if the content of face or speech is unknown. */
function contentKeyOf(job: Job, { engine, contents }: ContentOf): string | undefined {
  const { caller, backend, version, input, parameters = {} } = job
  const face = identityOf(input, FACES_WITH_FILES, contents?.face)
  const speech = identityOf(input, SPEECHES_WITH_FILES, contents?.audio)
  if (face === undefined || speech === undefined) return undefined
  const values = PARAMETER_NAMES.map((name) => [name, parameters[name]]).filter(([, value]) => value !== undefined)
  return hash('sha256', JSON.stringify([caller, backend, engine, version, values, face, speech]), 'base64url')
}

/** Of an object in a bucket its ETag, which differs for different bytes. */
const contentOf = ({ sha256, object, size }: UploadedFile) => sha256 ?? (object && `${object.etag} ${size}`)

/** Two files are the same only in the same field, since a backend may treat another one differently. */
function identityOf(input: JobInput, fields: readonly (keyof JobInput)[], content: string | undefined) {
  const field = fields.find((name) => input[name] !== undefined)
  const file = field && input[field]
  const known = typeof file === 'object' ? contentOf(file) : content
  return field === undefined || known === undefined ? undefined : `${field} ${known}`
}
