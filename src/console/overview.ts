import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useRef, useState } from 'preact/hooks'
import {
  client,
  credential,
  getJson,
  getText,
  type Job,
  ProblemError,
  readiness,
  REFRESH_MS,
  type Schemas,
  send,
  useLoaded,
  useRefreshed,
} from './api.ts'
import { BatchList } from './batches.ts'
import { BarChart, Figure } from './charts.ts'
import { counted, formatDuration } from './format.ts'
import { durationsOf, HOURS, hoursOf, quantileOf, readMetrics } from './statistics.ts'
import { attempt, Confirm, Failure, type Question } from './ui.ts'

/** Jobs on a page, the API's maximum, and the pages of finished jobs that the charts are made of. */
const PAGE_SIZE = 200
const MAX_PAGES = 5

export function OverviewPage(): VNode {
  return html`
    <div class="title"><h1>Overview</h1></div>
    <${Health} />
    <${Now} />
    <${BatchList} />
    <${LastDay} />
    <${Usage} />
  `
}

/** Whether the server, its store and its backend work. */
function Health(): VNode {
  const { data, error, reload } = useRefreshed(readiness)
  const rows = [
    ['Server', data?.status, data?.status === 'ready'],
    ['Store', data?.store, data?.store === 'ok'],
    ['Backend', data?.reason ?? data?.backend, data?.backend === 'ok'],
    ['Function', data?.function, data?.function === 'ok'],
  ] as const
  return html`<section class="card figures" aria-label="Health">
    <${Failure} error=${error} />
    ${rows
      .filter(([, state]) => state !== undefined)
      .map(
        ([name, state, isGood]) =>
          html`<div class="figure">
            <span class="status ${isGood ? 'succeeded' : 'failed'}">${state}</span> <span>${name}</span>
          </div>`,
      )}
    ${data && html`<${Pause} isPaused=${data.paused === true} onChange=${reload} />`}
  </section>`
}

/** Pauses and resumes the start of jobs; only administrators may. */
function Pause({ isPaused, onChange }: { isPaused: boolean; onChange: () => void }): VNode {
  const [question, setQuestion] = useState<Question>()
  const newest = useLoaded((signal) => client.list({ limit: 1 }, { signal }), [])
  // Only administrators see the caller of a job.
  const isAdmin = credential.get() === '' || newest.data?.jobs.some(({ caller }) => caller !== undefined)
  const change = async (verb: 'pause' | 'resume') => {
    const call = { method: 'POST', path: `/admin/${verb}`, repeatable: true, timeoutMs: 30_000 } as const
    await attempt(() => send(call, () => undefined))
    onChange()
  }
  const ask = () =>
    setQuestion({
      text: 'Start no more jobs, on any replica, until somebody resumes? Jobs that run go on, and new ones are accepted.',
      action: 'Pause',
      confirm: () => void change('pause'),
    })
  return html`<div class="actions end">
    ${isPaused && html`<span class="status waiting">paused</span>`}
    ${
      isAdmin &&
      (isPaused
        ? html`<button class="primary" onClick=${() => change('resume')}>Resume</button>`
        : html`<button onClick=${ask}>Pause</button>`)
    }
    ${question && html`<${Confirm} question=${question} close=${() => setQuestion(undefined)} />`}
  </div>`
}

/** What waits and what runs: of all callers where the metrics may be read, else of this one. */
function Now(): VNode {
  const mayReadMetrics = useRef(true)
  const metrics = useRefreshed(async () => {
    if (!mayReadMetrics.current) return new Map<string, number>()
    try {
      return readMetrics(await getText('/metrics'))
    } catch (error) {
      // Without the scope, or with a port of their own.
      if (error instanceof ProblemError) {
        mayReadMetrics.current = ![403, 404].includes(error.status)
        return new Map<string, number>()
      }
      throw error
    }
  })
  const running = useRefreshed((signal) => client.list({ status: 'running', limit: PAGE_SIZE }, { signal }))
  const waiting = useRefreshed((signal) => client.list({ status: 'submitted', limit: PAGE_SIZE }, { signal }))
  const countOf = (name: string, list: Schemas['JobList'] | undefined) =>
    metrics.data?.get(name) ?? (list && `${list.jobs.length}${list.next_cursor === undefined ? '' : '+'}`)
  const most = metrics.data?.get('musetalk_max_concurrent_jobs')
  const jobs = running.data?.jobs ?? []
  const place = jobs.some(({ backend }) => backend === 'modal') ? 'running on GPUs' : 'running'
  const stages = (['queued', 'starting', 'running'] as const).map(
    (stage) => [stage, jobs.filter((job) => job.stage === stage).length] as const,
  )
  const waits = countOf('musetalk_jobs_waiting', waiting.data)
  const runs = countOf('musetalk_jobs_in_flight', running.data)
  const { error } = metrics.data?.has('musetalk_jobs_waiting') ? metrics : running
  return html`<section class="card figures" aria-label="Now">
    <${Failure} error=${error} />
    ${
      waits !== undefined &&
      html`<a class="plain" href="#/jobs?status=submitted"><${Figure} value=${waits} name="waiting here" /></a>`
    }
    ${
      runs !== undefined &&
      html`<a class="plain" href="#/jobs?status=running">
        <${Figure}
          value=${runs}
          name="at the backend"
          note=${most !== undefined && Number.isFinite(most) ? `of ${most}` : undefined}
        />
      </a>`
    }
    ${stages
      .filter(([, count]) => count > 0)
      .map(
        ([stage, count]) => html`<${Figure} value=${count} name=${stage === 'running' ? place : `${stage} there`} />`,
      )}
  </section>`
}

type Finished = { readonly jobs: readonly Job[]; readonly isCut: boolean }

async function finishedJobs(signal: AbortSignal): Promise<Finished> {
  const after = new Date(Date.now() - HOURS * 3_600_000).toISOString()
  const query = { status: 'succeeded,failed,canceled', created_after: after, limit: PAGE_SIZE }
  const jobs: Job[] = []
  let pages = 0
  for await (const page of client.pages(query, { signal })) {
    jobs.push(...page.jobs)
    if (++pages === MAX_PAGES) return { jobs, isCut: page.next_cursor !== undefined }
  }
  return { jobs, isCut: false }
}

/** What finished in the last 24 hours, and how long it took. */
function LastDay(): VNode {
  const { data, error } = useRefreshed(finishedJobs, 4 * REFRESH_MS)
  const jobs = data?.jobs ?? []
  const hours = hoursOf(jobs, Date.now())
  const { waits, runs } = durationsOf(jobs)
  const failed = jobs.filter(({ status }) => status === 'failed').length
  const errors = new Map<string, number>()
  for (const { error_code: code } of jobs) if (code !== undefined) errors.set(code, (errors.get(code) ?? 0) + 1)
  const bars = hours.map(({ at, succeeded, failed: bad, canceled }, n) => {
    const hour = `${new Date(at).getHours()}:00`
    return {
      key: at,
      label: n % 6 === 0 ? hour : '',
      title: `${hour}: ${succeeded} succeeded, ${bad} failed, ${canceled} canceled`,
      parts: [
        { kind: 'succeeded', value: succeeded },
        { kind: 'failed', value: bad },
        { kind: 'canceled', value: canceled },
      ],
    }
  })
  const both = (values: readonly number[]) => {
    const [half, most] = [quantileOf(values, 0.5), quantileOf(values, 0.9)]
    return half === undefined || most === undefined ? '–' : `${formatDuration(half)} / ${formatDuration(most)}`
  }
  const summary = `${counted(jobs.length, 'job')} finished in the last 24 hours, ${failed} of them failed`
  return html`<section class="card" aria-label="Last 24 hours">
    <h2>Last 24 hours ${data?.isCut && html`<span class="dim">the latest ${jobs.length} jobs</span>`}</h2>
    <${Failure} error=${error} />
    ${
      data &&
      html`<${BarChart} bars=${bars} summary=${summary} />
        <div class="figures">
          <${Figure} value=${jobs.length} name="finished" />
          <a class="plain" href="#/jobs?status=failed"><${Figure} value=${failed} name="of them failed" /></a>
          <${Figure} value=${both(waits)} name="wait" note="median / 90 %" />
          <${Figure} value=${both(runs)} name="at the backend" note="median / 90 %" />
        </div>
        ${errors.size > 0 && html`<${Reasons} errors=${errors} />`}`
    }
  </section>`
}

/** Why jobs failed, by error code. */
const Reasons = ({ errors }: { errors: ReadonlyMap<string, number> }): VNode =>
  html`<p class="reasons">
    Why: ${[...errors].map(([code, count]) => html`<a href=${`#/jobs?error_code=${code}`}>${count} ${code}</a>`)}
  </p>`

/** Jobs and cost by day. */
function Usage(): VNode {
  const { data, error } = useLoaded<Schemas['Usage']>((signal) => getJson('/usage', signal), [])
  const days = new Map(data?.groups.map((day) => [day.group, day]))
  const first = data ? Date.parse(data.from) : 0
  const length = data ? Math.round((Date.parse(data.to) - first) / 86_400_000) + 1 : 0
  const bars = Array.from({ length }, (_, n) => {
    const day = new Date(first + n * 86_400_000).toISOString().slice(0, 10)
    const sums = days.get(day)
    const cost = (sums?.costs ?? []).map(({ amount, currency }) => `, ${amount} ${currency}`).join('')
    return {
      key: day,
      label: n % 7 === 2 ? day.slice(5) : '',
      title: `${day}: ${counted(sums?.jobs ?? 0, 'job')}, ${formatDuration((sums?.run_seconds ?? 0) * 1000)}${cost}`,
      parts: [{ kind: 'running', value: sums?.jobs ?? 0 }],
    }
  })
  const { jobs = 0, run_seconds: seconds = 0, costs = [] } = data?.total ?? {}
  return html`<section class="card" aria-label="Last 30 days">
    <h2>Last 30 days</h2>
    <${Failure} error=${error} />
    ${
      data &&
      html`<${BarChart} bars=${bars} summary=${`${counted(jobs, 'job')} finished in the last 30 days`} />
        <div class="figures">
          <${Figure} value=${jobs} name="finished" />
          <${Figure} value=${formatDuration(seconds * 1000)} name="of work" />
          ${costs.map(({ amount, currency }) => html`<${Figure} value=${`${amount} ${currency}`} name="cost" />`)}
        </div>`
    }
  </section>`
}
