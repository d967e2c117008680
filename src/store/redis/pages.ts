import type { Job } from '../../jobs/job.ts'
import type { Log } from '../../jobs/log.ts'
import { createLru } from '../../lib/collections.ts'
import type { Scripts } from './lua.ts'
import { behind, idAt, jobOf, UnreadableRecord } from './records.ts'

/** Jobs read at once while looking for what is owed: enough to be quick, few enough not to hold up Redis. */
export const OWED_PAGE = 200

/** About so many unreadable records are remembered as told of. */
const TOLD = 10_000

/** A part of lines: from `first` to `last`, bounds of Redis's `BYLEX`; of `newestFirst` the first is the higher. */
export type Part = {
  readonly lines: readonly string[]
  readonly first: string
  readonly last: string
  readonly newestFirst?: boolean
}

/** Reads jobs along lines. A record that this release cannot read is passed over, and told of once. */
export type Pages = {
  /** The first `limit` of the part, as they are in one moment. */
  read(part: Part, limit: number): Promise<Job[]>
  /** All of the part, page by page: what changes meanwhile is neither missed nor met twice. */
  walk(part: Part): AsyncIterable<Job>
}

export function createPages({ page }: Pick<Scripts, 'page'>, { root, log }: { root: string; log: Log }): Pages {
  const told = createLru<true>(TOLD)

  const tell = (id: string, { reason }: UnreadableRecord) => {
    if (told.get(id)) return
    told.set(id, true, 1)
    log.error({ job_id: id, reason }, 'a job cannot be read and is left alone')
  }

  /** The job at a place, or none. */
  const read = (place: string, record: string | null): Job[] => {
    try {
      return [jobOf(record)]
    } catch (error) {
      if (!(error instanceof UnreadableRecord)) throw error
      tell(idAt(place), error)
      return []
    }
  }

  async function* pages(part: Part, limit: () => number): AsyncIterable<Job[]> {
    let { first } = part
    for (;;) {
      const size = limit()
      const order = part.newestFirst ? 'REV' : ''
      const [places, records] = await page(part.lines, [root, order, first, part.last, size])
      yield places.flatMap((place, n) => read(place, records[n] ?? null))
      const last = places.at(-1)
      if (last === undefined || places.length < size) return
      first = behind(last)
    }
  }

  return {
    async read(part, limit) {
      const jobs: Job[] = []
      // A second look only where a record was passed over: a short page would mean that no more follow.
      for await (const some of pages(part, () => limit - jobs.length)) if (jobs.push(...some) >= limit) break
      return jobs
    },
    async *walk(part) {
      for await (const some of pages(part, () => OWED_PAGE)) yield* some
    },
  }
}
