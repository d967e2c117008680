import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { client, isFinished, type Job, type Loaded, type Schemas, useLoaded } from './api.ts'
import { BatchHead } from './batches.ts'
import { counted, shortId } from './format.ts'
import { JobFilters, listQueryOf } from './job-filters.ts'
import { ALL_JOBS, useLive } from './live.ts'
import { Age, attempt, Confirm, Failure, Live, notify, type Question, Status, Took } from './ui.ts'

type Page = Schemas['JobList']

/** Jobs on a page: the page holds no more of them, however many there are. */
const PAGE_SIZE = 50
/** Interval at which running jobs are loaded again, in ms: the stream of all jobs does not report progress. */
const PROGRESS_MS = 5_000
/** Changes of jobs that are not on the page load it again, at most once in this time, in ms. */
const RELOAD_MS = 1_000

export function JobsPage({ query }: { query: URLSearchParams }): VNode {
  const filter = listQueryOf(query)
  const key = query.toString()
  // The cursors of the pages before this one; they belong to the filter.
  const [visited, setVisited] = useState<{ key: string; cursors: readonly string[] }>({ key, cursors: [] })
  const cursors = visited.key === key ? visited.cursors : []
  const cursor = cursors.at(-1)
  const page = useLoaded<Page>(
    (signal) => client.list({ ...filter, limit: PAGE_SIZE, cursor }, { signal }),
    [key, cursor],
  )
  const live = useLiveList(page, cursor === undefined)
  const go = (next: readonly string[]) => setVisited({ key, cursors: next })
  const jobs = page.data?.jobs ?? []
  const next = page.data?.next_cursor

  return html`
    <div class="title">
      <h1>Jobs</h1>
      <${Live} state=${live} />
    </div>
    ${filter.batch !== undefined && html`<${BatchHead} key=${filter.batch} id=${filter.batch} onChange=${page.reload} />`}
    <${JobFilters} query=${query} jobs=${jobs} isAdmin=${jobs.some((job) => job.caller !== undefined)} />
    <${Failure} error=${page.error} retry=${page.reload} />
    ${
      page.data && jobs.length === 0
        ? html`<p class="empty">
            ${key === '' ? html`No jobs yet. <a href="#/new">Make the first one</a>.` : 'No job matches these filters.'}
          </p>`
        : html`<${JobTable} key=${`${key} ${cursor ?? ''}`} jobs=${jobs} reload=${page.reload} />`
    }
    ${
      (cursors.length > 0 || next !== undefined) &&
      html`<nav class="actions pages" aria-label="Pages">
        <button disabled=${cursors.length === 0} onClick=${() => go(cursors.slice(0, -1))}>Newer</button>
        <span class="dim">Page ${cursors.length + 1}</span>
        <button disabled=${next === undefined} onClick=${() => next !== undefined && go([...cursors, next])}>
          Older
        </button>
      </nav>`
    }
  `
}

/** Keeps a page of jobs current: its own jobs change in place, others load it again if it is the first. */
function useLiveList(page: Loaded<Page>, isFirst: boolean) {
  const [timer] = useState<{ id?: ReturnType<typeof setTimeout> | undefined }>({})
  const reloadSoon = () => {
    timer.id ??= setTimeout(() => {
      timer.id = undefined
      page.reload()
    }, RELOAD_MS)
  }
  const hasRunning = page.data?.jobs.some(({ status }) => status === 'running')
  useEffect(() => {
    if (!hasRunning) return undefined
    const interval = setInterval(() => !document.hidden && page.reload(), PROGRESS_MS)
    return () => clearInterval(interval)
  }, [hasRunning])
  return useLive({
    path: ALL_JOBS,
    onJob(job) {
      page.update((data) => ({ ...data, jobs: data.jobs.map((one) => (one.job_id === job.job_id ? job : one)) }))
      if (isFirst) reloadSoon()
    },
    onHint: (id, hint) =>
      page.update((data) => ({
        ...data,
        jobs: data.jobs.map((one) => (one.job_id === id && !isFinished(one) ? { ...one, ...hint } : one)),
      })),
    onGap: page.reload,
  })
}

/** Actions for several jobs. */
const ACTIONS = {
  cancel: { label: 'Cancel', done: 'canceled', applies: (job: Job) => !isFinished(job), run: client.cancel },
  retry: {
    label: 'Retry',
    done: 'started again',
    applies: (job: Job) => job.status === 'failed' || job.status === 'canceled',
    run: client.retry,
  },
  remove: { label: 'Delete', done: 'deleted', applies: isFinished, run: client.remove },
} as const

type Action = (typeof ACTIONS)[keyof typeof ACTIONS]

function JobTable({ jobs, reload }: { jobs: readonly Job[]; reload: () => void }): VNode {
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set())
  const [question, setQuestion] = useState<Question>()
  const chosen = jobs.filter(({ job_id: id }) => selected.has(id))
  const toggle = (id: string) => {
    const next = new Set(selected)
    if (!next.delete(id)) next.add(id)
    setSelected(next)
  }
  const toggleAll = () => setSelected(new Set(chosen.length === jobs.length ? [] : jobs.map(({ job_id: id }) => id)))

  const act = async (action: Action, targets: readonly Job[]) => {
    let done = 0
    for (const { job_id: id } of targets) if (await attempt(() => action.run(id))) done++
    notify(`${counted(done, 'job')} ${action.done}.`)
    setSelected(new Set())
    reload()
  }
  const ask = (action: Action) => {
    const targets = chosen.filter(action.applies)
    const what = targets.length === 1 ? 'this job' : `these ${targets.length} jobs`
    const confirm = () => void act(action, targets)
    if (action === ACTIONS.retry) confirm()
    else setQuestion({ text: `${action.label} ${what}?`, action: `${action.label} ${what}`, confirm })
  }

  return html`
    <div class="selection ${chosen.length > 0 ? 'some' : ''}" role="group" aria-label="Selected jobs">
      <span class="dim">${chosen.length > 0 ? `${chosen.length} selected` : counted(jobs.length, 'job')}</span>
      ${
        chosen.length > 0 &&
        Object.values(ACTIONS).map((action) => {
          const count = chosen.filter(action.applies).length
          return html`<button class="small" disabled=${count === 0} onClick=${() => ask(action)}>
            ${action.label}
          </button>`
        })
      }
    </div>
    <table class="jobs">
      <thead>
        <tr>
          <th class="check">
            <input
              type="checkbox"
              aria-label="Select all jobs of this page"
              checked=${jobs.length > 0 && chosen.length === jobs.length}
              onChange=${toggleAll}
            />
          </th>
          <th>Job</th>
          <th>State</th>
          <th>Age</th>
          <th>Took</th>
          <th>${jobs.some(({ caller }) => caller !== undefined) ? 'Caller and labels' : 'Labels'}</th>
        </tr>
      </thead>
      <tbody>
        ${jobs.map(
          (job) =>
            html`<${JobRow}
              key=${job.job_id}
              job=${job}
              isSelected=${selected.has(job.job_id)}
              onToggle=${() => toggle(job.job_id)}
            />`,
        )}
      </tbody>
    </table>
    ${question && html`<${Confirm} question=${question} close=${() => setQuestion(undefined)} />`}
  `
}

type JobRowProps = { readonly job: Job; readonly isSelected: boolean; readonly onToggle: () => void }

function JobRow({ job, isSelected, onToggle }: JobRowProps): VNode {
  const name = shortId(job.job_id)
  return html`<tr class=${isSelected ? 'selected' : ''}>
    <td class="check">
      <input type="checkbox" aria-label=${`Select job ${name}`} checked=${isSelected} onChange=${onToggle} />
    </td>
    <td class="id"><a href=${`#/job/${job.job_id}`} title=${job.job_id}>${name}</a></td>
    <td class="state">
      <${Status} job=${job} />
      ${job.progress?.percent !== undefined && html`<small class="dim">${job.progress.percent} %</small>`}
      ${job.queue_position !== undefined && html`<small class="dim">number ${job.queue_position} in the queue</small>`}
      ${job.error !== undefined && html`<small class="error" title=${job.error}><bdi>${job.error}</bdi></small>`}
    </td>
    <td class="age"><${Age} at=${job.created_at} /></td>
    <td class="took">
      <${Took} job=${job} />${job.cost && html`<small class="dim">${job.cost.amount} ${job.cost.currency}</small>`}
    </td>
    <td class="labels"><${Labels} job=${job} /></td>
  </tr>`
}

const Labels = ({ job }: { job: Job }): VNode => html`
  ${job.caller !== undefined && html`<a class="label" href=${`#/jobs?caller=${encodeURIComponent(job.caller)}`}><bdi>${job.caller}</bdi></a>`}
  ${Object.entries(job.metadata ?? {}).map(
    ([key, value]) =>
      html`<a class="label" href=${`#/jobs?label=${encodeURIComponent(`${key}=${value}`)}`} title=${`${key}=${value}`}
        ><bdi>${key}</bdi>=<bdi>${value}</bdi></a
      >`,
  )}
`
