import type { Job } from '../../jobs/job.ts'
import type { Log } from '../../jobs/log.ts'
import { createLru } from '../../lib/collections.ts'
import type { Scripts } from './lua.ts'
import { boundAfter, idAt, jobOf, UnreadableRecord } from './records.ts'

/** Jobs or deliveries read at once: a compromise between speed and the time for which Redis is blocked. */
export const PAGE_SIZE = 200
/** Unreadable records remembered as logged. */
const MAX_LOGGED = 10_000

/** A range of one or more indexes between two `BYLEX` bounds. With `newestFirst` the higher bound is the first. */
export type Range = {
  readonly indexes: readonly string[]
  readonly first: string
  readonly last: string
  readonly newestFirst?: boolean
}

/** Reads jobs along indexes. A record that this release cannot read is skipped and logged once. */
export type Pages = {
  /** The first `limit` jobs of a range, as of one moment. */
  read(range: Range, limit: number): Promise<Job[]>
  /** All jobs of a range, page by page: one that changes meanwhile is neither missed nor listed twice. */
  walk(range: Range): AsyncIterable<Job>
}

export function createPages({ page }: Pick<Scripts, 'page'>, { root, log }: { root: string; log: Log }): Pages {
  const logged = createLru<true>(MAX_LOGGED)

  const logOnce = (id: string, { reason }: UnreadableRecord) => {
    if (logged.get(id)) return
    logged.set(id, true, 1)
    log.error({ event: 'job_unreadable', job_id: id, reason }, 'a job cannot be read and stays as it is')
  }

  /** The job at a position, or none if it cannot be read. */
  const parse = (position: string, record: string | null): Job[] => {
    try {
      return [jobOf(record)]
    } catch (error) {
      if (!(error instanceof UnreadableRecord)) throw error
      logOnce(idAt(position), error)
      return []
    }
  }

  async function* pages(range: Range, limit: () => number): AsyncIterable<Job[]> {
    let { first } = range
    for (;;) {
      const size = limit()
      const order = range.newestFirst ? 'REV' : ''
      const [positions, records] = await page(range.indexes, [root, order, first, range.last, size])
      yield positions.flatMap((position, n) => parse(position, records[n] ?? null))
      const last = positions.at(-1)
      if (last === undefined || positions.length < size) return
      first = boundAfter(last)
    }
  }

  return {
    async read(range, limit) {
      const jobs: Job[] = []
      // Reads again only where a record was skipped: a short page means that it is the last one.
      for await (const some of pages(range, () => limit - jobs.length)) if (jobs.push(...some) >= limit) break
      return jobs
    },
    async *walk(range) {
      for await (const some of pages(range, () => PAGE_SIZE)) yield* some
    },
  }
}
