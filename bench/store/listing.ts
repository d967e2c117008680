import type { JobView } from '../../src/jobs/view.ts'
import type { Bench, Section } from '../part.ts'
import { median, p99 } from '../percentiles.ts'
import { startServer } from '../server.ts'
import { addJobs } from './jobs-file.ts'
import { openPlane, tempFile } from './stand.ts'

const JOBS = 100_000
const PAGE = 200
const WALKS = 3

/** Whether the last page of a long list costs more than the first. */
export const listing: Section = {
  name: 'listing',
  what:
    `${JOBS.toLocaleString('en-US')} finished jobs listed over GET /jobs?limit=${PAGE}, page after page, ${WALKS} times after ` +
    'a walk to warm up: the median time of a page in the last tenth of a walk, beside the first tenth.',
  deadlineMs: 120_000,
  async run(bench) {
    const count = bench.scaled(JOBS)
    const file = tempFile(bench)
    await addJobs(file, { finished: count })
    const plane = await openPlane(bench)
    const server = await startServer({ ...plane.env, JOB_STORE: `sqlite:${file}` })
    bench.own(() => server.end())
    await walk(server.url)
    const walks = [] as Walk[]
    for (let n = 0; n < WALKS; n++) walks.push(await walk(server.url))
    report(bench, count, walks)
  },
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

function report(bench: Bench, count: number, walks: readonly Walk[]) {
  const tenth = (pages: readonly number[], index: number) =>
    pages.slice(Math.floor((pages.length * index) / 10), Math.ceil((pages.length * (index + 1)) / 10))
  const pages = (index: number) => median(walks.flatMap(({ pageMs }) => tenth(pageMs, index)))
  const missed = count - Math.min(...walks.map(({ ids }) => ids.size))
  bench.report({ name: 'jobs missed', value: missed, unit: '', target: { atMost: 0 } })
  bench.report({ name: 'a page in the first tenth: median', value: pages(0), unit: 'ms' })
  bench.report({ name: 'a page in the middle: median', value: pages(5), unit: 'ms' })
  bench.report({ name: 'a page in the last tenth: median', value: pages(9), unit: 'ms' })
  bench.report({ name: 'any page: p99', value: p99(walks.flatMap(({ pageMs }) => pageMs)), unit: 'ms' })
  bench.report({ name: 'listing: last tenth / first', value: pages(9) / pages(0), unit: '', target: { atMost: 1.2 } })
}
