/** Where a read of a sorted set starts: with `at`, or just after it. */
export type Start<T> = { readonly at: T; readonly isIncluded: boolean }

/** Reads a sorted set: up to `size` values in its order, from `start` or from its first value. */
export type SortedSet<T> = (start: Start<T> | undefined, size: number) => readonly T[]

/** The sets of a group are read as one, their union. */
export type Group<T> = readonly SortedSet<T>[]

/** Values read at once of a set that is intersected with others: each jumps to where the others are. */
const INTERSECTED_PAGE = 16
/** Jumps after which the event loop is free for other work. */
const JUMPS_AT_ONCE = 500

export type IntersectionQuery<T, Found> = {
  /** Negative where `a` comes before `b`. */
  readonly compare: (a: T, b: T) => number
  readonly start: Start<T> | undefined
  readonly limit: number
  /** What stands at these values, called in the turn in which they were read; what is missing may be left out. */
  readonly find: (values: readonly T[]) => readonly Found[]
}

/**
 * What stands at the first values that are in every group, up to `limit`. The cost grows with the smallest group at most,
 * however large the others are: each read continues where the group that is furthest has arrived.
 */
export async function intersect<T, Found>(
  groups: readonly Group<T>[],
  { find, ...query }: IntersectionQuery<T, Found>,
): Promise<Found[]> {
  const found: Found[] = []
  let { start } = query
  for (;;) {
    const part = readPart(groups, { ...query, start, limit: query.limit - found.length })
    found.push(...find(part.values))
    if (!part.next || found.length >= query.limit) return found
    start = part.next
    await new Promise(setImmediate)
  }
}

type PartQuery<T> = Omit<IntersectionQuery<T, never>, 'find'>

/** `next`: where the next part starts; undefined at the end of a group. */
function readPart<T>(groups: readonly Group<T>[], { compare, limit, start: first }: PartQuery<T>) {
  const size = groups.length === 1 ? limit : INTERSECTED_PAGE
  const heads = groups.map((group) => group.map((set) => createHead(set, { compare, size })))
  const values: T[] = []
  let start = first
  for (let jumps = 0; values.length < limit && jumps < JUMPS_AT_ONCE;) {
    const ofGroups = heads.map((group) => firstOf(group.map((head) => head.from(start)).filter(isValue), compare))
    const furthest = firstOf(ofGroups.filter(isValue), (a, b) => compare(b, a))
    if (furthest === undefined || ofGroups.includes(undefined)) return { values }
    const isInAll = ofGroups.every((value) => value !== undefined && compare(value, furthest) === 0)
    if (isInAll) values.push(furthest)
    else jumps++
    start = { at: furthest, isIncluded: !isInAll }
  }
  return { values, next: start }
}

const isValue = <T>(value: T | undefined): value is T => value !== undefined

const firstOf = <T>(values: readonly T[], compare: (a: T, b: T) => number): T | undefined =>
  values.reduce<T | undefined>(
    (first, value) => (first === undefined || compare(value, first) < 0 ? value : first),
    undefined,
  )

/** The first value of a set from a start that only moves forward. */
function createHead<T>(set: SortedSet<T>, { compare, size }: { compare: (a: T, b: T) => number; size: number }) {
  let page: readonly T[] = []
  let next = 0
  let isLast = false

  const isBefore = (value: T, start: Start<T>) => {
    const order = compare(value, start.at)
    return order < 0 || (order === 0 && !start.isIncluded)
  }
  return {
    from(start: Start<T> | undefined): T | undefined {
      for (;;) {
        for (; next < page.length; next++) {
          const value = page[next] as T
          if (!start || !isBefore(value, start)) return value
        }
        if (isLast) return undefined
        page = set(start, size)
        next = 0
        isLast = page.length < size
      }
    },
  }
}
