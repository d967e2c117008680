import {
  type Attempt,
  FILE_KINDS,
  type FileKind,
  type Job,
  type JobInput,
  namedInputOf,
  type UploadedFile,
} from './job.ts'
import type { LinkSigner } from './links.ts'

export type ViewOptions = {
  readonly queuePosition?: number | undefined
  /** Makes the link to the output of a job that has one. */
  readonly links?: Pick<LinkSigner, 'outputUrl'>
  /** Whether to say whose the job is, which is for administrators. */
  readonly withCaller?: boolean
}

/** A job in its wire form: snake_case, RFC 3339 times, absent rather than null. The only place that makes it. */
export function viewOf(job: Job, { queuePosition, links, withCaller = false }: ViewOptions = {}) {
  return {
    job_id: job.id,
    status: job.status,
    ...(withCaller && { caller: job.caller }),
    version: job.version,
    backend: job.backend,
    revision: job.revision,
    input: inputView(job.input),
    ...(job.metadata && { metadata: job.metadata }),
    created_at: time(job.createdAt),
    ...(job.startedAt !== undefined && { started_at: time(job.startedAt) }),
    ...(job.finishedAt !== undefined && { finished_at: time(job.finishedAt) }),
    deadline_at: time(job.deadlineAt),
    ...(queuePosition !== undefined && { queue_position: queuePosition }),
    ...(job.outputPath !== undefined && { output_path: job.outputPath }),
    ...(job.outputPath !== undefined && links && { output_url: links.outputUrl(job) }),
    ...(job.error !== undefined && { error: job.error }),
    ...(job.errorCode && { error_code: job.errorCode }),
    attempts: job.attempts.map(attemptView),
    links: linksOf(job),
  }
}

export type JobView = ReturnType<typeof viewOf>

/** As it was given; of a file what it is. */
function inputView(input: JobInput) {
  const files = FILE_KINDS.map((kind) => {
    const file = input[kind]
    return file && { [kind]: { size: file.size, type: file.type } }
  })
  return { ...namedInputOf(input), ...(Object.assign({}, ...files) as Partial<Record<FileKind, FileView>>) }
}

type FileView = Pick<UploadedFile, 'size' | 'type'>

const attemptView = (attempt: Attempt) => ({
  attempt: attempt.attempt,
  ...(attempt.callId !== undefined && { call_id: attempt.callId }),
  ...(attempt.startedAt !== undefined && { started_at: time(attempt.startedAt) }),
  ...(attempt.finishedAt !== undefined && { finished_at: time(attempt.finishedAt) }),
  ...(attempt.outcome && { outcome: attempt.outcome }),
  ...(attempt.error !== undefined && { error: attempt.error }),
  ...(attempt.errorCode && { error_code: attempt.errorCode }),
})

const linksOf = ({ id, webhook }: Job) => ({
  self: `/jobs/${id}`,
  result: `/jobs/${id}/result`,
  output: `/jobs/${id}/output`,
  events: `/jobs/${id}/events`,
  logs: `/jobs/${id}/logs`,
  cancel: `/jobs/${id}/cancel`,
  ...(webhook && { deliveries: `/jobs/${id}/deliveries` }),
})

const time = (epochMs: number) => new Date(epochMs).toISOString()
