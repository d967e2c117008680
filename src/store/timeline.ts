import type { ListPosition, ListQuery } from './port.ts'

/** Jobs in order of creation, then of id, kept as one sorted array: jobs nearly always come in at its end. */
export type Timeline = {
  add(position: ListPosition): void
  remove(position: ListPosition): void
  /** Ids from the newest on that the query's `after` and `createdBefore` allow. */
  before(query: Pick<ListQuery, 'after' | 'createdBefore'>): Iterable<string>
  /** Ids from the oldest on, up to this time. */
  until(time: number): string[]
}

export function createTimeline(): Timeline {
  const line: ListPosition[] = []

  return {
    add: ({ createdAt, id }) => void line.splice(countBelow(line, { createdAt, id }), 0, { createdAt, id }),
    remove(position) {
      const at = countBelow(line, position)
      if (line[at]?.id === position.id) line.splice(at, 1)
    },
    until: (time) => line.slice(0, countBelow(line, { createdAt: time + 1, id: '' })).map(({ id }) => id),
    *before({ after, createdBefore }) {
      const start = after ?? (createdBefore === undefined ? undefined : { createdAt: createdBefore, id: '' })
      let at = start ? countBelow(line, start) : line.length
      while (at-- > 0) yield line[at]?.id ?? ''
    },
  }
}

/** Newest last; the same millisecond is ordered by id. */
export function comparePositions(a: ListPosition, b: ListPosition): number {
  if (a.createdAt !== b.createdAt) return a.createdAt - b.createdAt
  if (a.id === b.id) return 0
  return a.id < b.id ? -1 : 1
}

function countBelow(line: readonly ListPosition[], position: ListPosition): number {
  let [low, high] = [0, line.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    const found = line[middle]
    if (found && comparePositions(found, position) < 0) low = middle + 1
    else high = middle
  }
  return low
}
