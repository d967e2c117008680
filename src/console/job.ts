import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import { adviceFor } from './advice.ts'
import {
  client,
  credential,
  isFinished,
  type Job,
  ProblemError,
  readiness,
  urlOf,
  useLoaded,
  useRefreshed,
} from './api.ts'
import { Deliveries } from './deliveries.ts'
import { curlOf, formatFacts, formatFinish, isJobId } from './format.ts'
import { JobLog } from './job-log.ts'
import { JobMedia, outputUrl } from './job-media.ts'
import { type LiveOptions, type LiveState, useLive } from './live.ts'
import { Timeline } from './timeline.ts'
import { Age, attempt, Command, Confirm, CopyButton, Failure, Live, type Question, Status, Took, useNow } from './ui.ts'

export function JobPage({ rest: id }: { rest: string }): VNode {
  return isJobId(id) ? html`<${KnownJob} id=${id} />` : html`<p class="empty">This is not a job id.</p>`
}

function KnownJob({ id }: { id: string }): VNode {
  const [isMissing, setMissing] = useState(false)
  const load = async (signal: AbortSignal) => {
    try {
      return await client.get(id, { signal })
    } catch (error) {
      if (error instanceof ProblemError && error.code === 'job_not_found') setMissing(true)
      throw error
    }
  }
  const job = useLoaded<Job>(load, [id])
  const isOpen = job.data !== undefined && !isFinished(job.data)
  const onJob = (next: Job) => job.update(() => next)
  const onHint: LiveOptions['onHint'] = (_id, hint) => job.update((last) => ({ ...last, ...hint }))
  const live = useLive({ path: isOpen ? `/jobs/${id}/events` : undefined, onJob, onHint, onGap: job.reload })
  if (!job.data && isMissing) {
    return html`<p class="empty">
      There is no job with this id; it may have been deleted. <a href="#/jobs">All jobs</a>
    </p>`
  }
  if (!job.data) return html`<${Failure} error=${job.error} retry=${job.reload} />`
  return html`<${JobView} job=${job.data} error=${job.error} live=${isOpen ? live : undefined} set=${onJob} />`
}

type JobViewProps = {
  readonly job: Job
  readonly error: string
  readonly live: LiveState | undefined
  readonly set: (job: Job) => void
}

function JobView({ job, error, live, set }: JobViewProps): VNode {
  return html`
    <div class="title">
      <h1><span class="hidden">Job </span><code class="long-id">${job.job_id}</code></h1>
      ${live && html`<${Live} state=${live} />`}
    </div>
    <${Failure} error=${error} />
    <div class="card head">
      <div class="state"><${Status} job=${job} /> <${Progress} job=${job} /></div>
      <${JobActions} job=${job} set=${set} />
    </div>
    ${
      job.error !== undefined &&
      html`<section class="card problem" aria-label="Why it failed">
        <h2>Why it failed <code>${job.error_code}</code></h2>
        <pre class="error-text" tabindex="0"><bdi>${job.error}</bdi></pre>
        <p>${adviceFor(job)}</p>
      </section>`
    }
    <${JobMedia} job=${job} />
    <${Facts} job=${job} />
    <${Timeline} job=${job} />
    <${JobLog} job=${job} />
    ${job.links.deliveries !== undefined && html`<${Deliveries} id=${job.job_id} revision=${job.revision} />`}
    <${Curl} job=${job} />
  `
}

/** How far it is, where the server knows. */
function Progress({ job }: { job: Job }): VNode | null {
  const now = useNow(1_000)
  if (isFinished(job)) return null
  const { progress, estimated_finish_at: finish } = job
  const percent = progress?.percent
  return html`<span class="progress">
    ${
      percent === undefined
        ? html`<progress aria-label="Progress"></progress>`
        : html`<progress max="100" value=${percent} aria-label="Progress"></progress>
            <span>${progress?.step} ${percent} %</span>`
    }
    ${job.queue_position !== undefined && html`<span>number ${job.queue_position} in the queue</span>`}
    ${job.status === 'submitted' && html`<${PauseNotice} />`}
    <span>${formatFinish(finish, now)}</span>
  </span>`
}

/** Why a job waits that nothing else holds up. */
function PauseNotice(): VNode | null {
  const { data } = useRefreshed(readiness)
  return data?.paused === true ? html`<span class="waiting">The start of jobs is paused</span>` : null
}

function JobActions({ job, set }: { job: Job; set: (job: Job) => void }): VNode {
  const [question, setQuestion] = useState<Question>()
  const id = job.job_id
  const cancel = () => attempt(async () => set(await client.cancel(id)))
  const retry = () => attempt(async () => set(await client.retry(id)), 'The job starts again.')
  const remove = async () => {
    if (await attempt(() => client.remove(id), 'The job is deleted.')) location.hash = '#/jobs'
  }
  const ask = (text: string, action: string, confirm: () => unknown) =>
    setQuestion({ text, action, confirm: () => void confirm() })
  const isRetriable = job.status === 'failed' || job.status === 'canceled'
  const link = outputUrl(job)
  return html`<div class="actions">
    ${link && html`<a class="button primary" href=${`${link}&download=1`} download>Download</a>`}
    ${job.output_url !== undefined && html`<${CopyButton} text=${job.output_url} label="Copy link" />`}
    ${isRetriable && html`<button class="primary" onClick=${retry}>Retry</button>`}
    ${
      isFinished(job)
        ? html`<button onClick=${() => ask('Delete this job with its files and its video?', 'Delete the job', remove)}>
            Delete
          </button>`
        : html`<button onClick=${() => ask('Cancel this job?', 'Cancel the job', cancel)}>Cancel</button>`
    }
    ${question && html`<${Confirm} question=${question} close=${() => setQuestion(undefined)} />`}
  </div>`
}

/** A text that gets a row of its own. */
const isLong = (value: unknown) => typeof value === 'string' && value.length > 60

/** What was asked for, and what it cost. */
function Facts({ job }: { job: Job }): VNode {
  const { cost } = job
  const rows: [string, unknown][] = [
    ['Accepted', html`<${Age} at=${job.created_at} />`],
    ['Took', html`<${Took} job=${job} />`],
    ['Deadline', isFinished(job) ? undefined : new Date(job.deadline_at).toLocaleString()],
    ['Cost', cost && `${cost.amount} ${cost.currency}`],
    ['Model', job.version],
    ['Priority', job.priority],
    ['Batch', job.batch_id && html`<a href=${`#/jobs?batch=${job.batch_id}`}>${job.batch_id}</a>`],
    ['Backend', job.backend],
    ['Caller', job.caller],
    ['Face', formatFacts(job.media?.face ?? {})],
    ['Speech', formatFacts(job.media?.audio ?? {})],
    ...Object.entries(job.parameters ?? {}).map(([name, value]): [string, unknown] => [name, String(value)]),
    ...Object.entries(job.metadata ?? {}).map(([name, value]): [string, unknown] => [name, value]),
  ]
  return html`<section class="card" aria-label="Facts">
    <dl class="facts-list">
      ${rows
        .filter(([, value]) => value !== undefined && value !== '')
        .map(
          ([name, value]) =>
            html`<div class=${isLong(value) ? 'long' : ''}>
              <dt><bdi>${name}</bdi></dt>
              <dd><bdi>${value}</bdi></dd>
            </div>`,
        )}
    </dl>
  </section>`
}

/** The command that submits the same job. Of an uploaded file only the kind is known. */
function Curl({ job }: { job: Job }): VNode {
  const { video, image, audio, ...named } = job.input
  const uploaded = Object.entries({ video, image, audio }).filter(([, file]) => file !== undefined)
  const command = curlOf({
    url: urlOf('jobs'),
    files: Object.fromEntries(
      uploaded.map(([kind, file]) => [kind, `${kind}.${file?.type.split('/')[1]?.replace(/\W/g, '') ?? 'bin'}`]),
    ),
    fields: {
      ...named,
      ...(job.version !== 'v15' && { version: job.version }),
      ...(job.priority && { priority: job.priority }),
      ...(job.parameters && { parameters: job.parameters }),
      ...(job.metadata && { metadata: job.metadata }),
    },
    needsKey: credential.get() !== '',
  })
  return html`<${Command} text=${command} />`
}
