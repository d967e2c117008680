import type { JobView } from '../../src/jobs/view.ts'
import type { Bench, Section } from '../part.ts'
import { median, p99 } from '../percentiles.ts'
import { openPlane } from '../plane.ts'
import { startServer } from '../server.ts'
import { forkGenerator } from './generator.ts'
import { addJobs } from './jobs-file.ts'
import { HELD_BACK, tempFile } from './stand.ts'

const JOBS = 100_000
const PAGE = 200
const WALKS = 3
/** A page that had to pass over those before it would cost many times as much; a cold cache costs a little. */
const FLAT = 1.5

/** Whether the last page of a long list costs more than the first. */
export const listing: Section = {
  name: 'listing',
  what:
    `${JOBS.toLocaleString('en-US')} jobs listed over GET /jobs?limit=${PAGE}, page after page, ${WALKS} times after a walk ` +
    'to warm up: the median time of a page in the last tenth of a walk, beside the first tenth. Finished jobs in sqlite ' +
    'mode; in memory mode as many that are held back, each with its place in the line.',
  deadlineMs: 240_000,
  async run(bench) {
    const count = bench.scaled(JOBS)
    const file = tempFile(bench)
    await addJobs(file, { finished: count })
    const plane = await openPlane(bench)
    const open = async (JOB_STORE: string) => {
      const server = await startServer({ ...plane.env, ...HELD_BACK, JOB_STORE })
      bench.own(() => server.end())
      return server
    }
    const sqlite = await open(`sqlite:${file}`)
    report(bench, { mode: 'sqlite', count, walks: await walks(sqlite.url) })
    await sqlite.end()
    const memory = await open('memory')
    await (await forkGenerator(bench)).run(memory.url, { count })
    report(bench, { mode: 'memory', count, walks: await walks(memory.url) })
  },
}

async function walks(url: string): Promise<Walk[]> {
  const all: Walk[] = []
  for (let n = 0; n <= WALKS; n++) all.push(await walk(url))
  return all.slice(1)
}

type Walk = { readonly ids: ReadonlySet<string>; readonly pageMs: readonly number[] }

async function walk(url: string): Promise<Walk> {
  const ids = new Set<string>()
  const pageMs: number[] = []
  for (let query: string | undefined = `limit=${PAGE}`; query !== undefined;) {
    const startedAt = performance.now()
    const text = await (await fetch(`${url}/jobs?${query}`)).text()
    pageMs.push(performance.now() - startedAt)
    const { jobs, next_cursor: cursor } = JSON.parse(text) as { jobs: JobView[]; next_cursor?: string }
    for (const { job_id: id } of jobs) ids.add(id)
    query = cursor && `limit=${PAGE}&cursor=${cursor}`
  }
  return { ids, pageMs }
}

type Walked = { readonly mode: string; readonly count: number; readonly walks: readonly Walk[] }

function report(bench: Bench, { mode, count, walks }: Walked) {
  const tenth = (pages: readonly number[], index: number) =>
    pages.slice(Math.floor((pages.length * index) / 10), Math.ceil((pages.length * (index + 1)) / 10))
  const pages = (index: number) => median(walks.flatMap(({ pageMs }) => tenth(pageMs, index)))
  const missed = count - Math.min(...walks.map(({ ids }) => ids.size))
  const ratio = pages(9) / pages(0)
  bench.report({ name: `${mode}: jobs missed`, value: missed, unit: '', target: { atMost: 0 } })
  bench.report({ name: `${mode}: a page in the first tenth`, value: pages(0), unit: 'ms' })
  bench.report({ name: `${mode}: a page in the middle`, value: pages(5), unit: 'ms' })
  bench.report({ name: `${mode}: a page in the last tenth`, value: pages(9), unit: 'ms' })
  bench.report({ name: `${mode}: any page, p99`, value: p99(walks.flatMap(({ pageMs }) => pageMs)), unit: 'ms' })
  bench.report({ name: `${mode}: last tenth / first`, value: ratio, unit: '', target: { atMost: FLAT } })
}
