/**
 * First in, first out; every verb costs the same however many wait. (A `Map` in order of insertion is no such queue:
 * finding its first entry walks over all that were deleted before it.)
 */
export type Fifo<T> = {
  readonly size: number
  readonly first: T | undefined
  /** Adds a value at the tail. The function that it returns removes the value, wherever it is by then; idempotent. */
  add(value: T): () => void
  /** Takes out the first value; undefined if there is none. */
  shift(): T | undefined
}

type Entry<T> = { readonly value?: T; previous: Entry<T>; next: Entry<T> }

/** A ring of entries around one that holds no value. */
export function createFifo<T>(): Fifo<T> {
  const ring = {} as Entry<T>
  ring.previous = ring.next = ring
  let size = 0

  const remove = (entry: Entry<T>) => {
    if (entry.next === entry) return
    entry.previous.next = entry.next
    entry.next.previous = entry.previous
    entry.previous = entry.next = entry
    size--
  }
  return {
    get size() {
      return size
    },
    get first() {
      return ring.next.value
    },
    add(value) {
      const entry: Entry<T> = { value, previous: ring.previous, next: ring }
      ring.previous = ring.previous.next = entry
      size++
      return () => remove(entry)
    },
    shift() {
      const { next } = ring
      remove(next)
      return next.value
    },
  }
}

/** A cache that drops the least recently used values. */
export type Lru<T> = {
  get(key: string): T | undefined
  /** `weight`: what the value counts for, in the unit of the limit. */
  set(key: string, value: T, weight: number): void
  delete(key: string): void
}

type Kept<T> = { readonly value: T; readonly weight: number }

/**
 * Keeps recently used values in two generations, up to `maxWeight` together; the old one is dropped when the young one
 * reaches half the limit. The cost of a call does not grow with the number of values.
 */
export function createLru<T>(maxWeight: number): Lru<T> {
  let [young, old] = [new Map<string, Kept<T>>(), new Map<string, Kept<T>>()]
  let weight = 0

  const keep = (key: string, kept: Kept<T>) => {
    weight += kept.weight - (young.get(key)?.weight ?? 0)
    young.set(key, kept)
    if (weight < maxWeight / 2) return
    old = young
    young = new Map()
    weight = 0
  }
  return {
    set: (key, value, weight) => keep(key, { value, weight }),
    get(key) {
      const kept = young.get(key)
      if (kept) return kept.value
      const older = old.get(key)
      if (older) keep(key, older)
      return older?.value
    },
    delete(key) {
      weight -= young.get(key)?.weight ?? 0
      young.delete(key)
      old.delete(key)
    },
  }
}

/**
 * All items of a source that is read in pages. `read` returns up to `size` items that follow `after`, the last item of
 * the page before; a shorter page is the last one. Between two pages the event loop is free for other work.
 */
export async function* readPages<T>(
  size: number,
  read: (after: T | undefined) => readonly T[] | Promise<readonly T[]>,
): AsyncGenerator<T, void> {
  let after: T | undefined
  for (;;) {
    const page = await read(after)
    yield* page
    if (page.length < size) return
    after = page.at(-1)
    await new Promise(setImmediate)
  }
}

/** The middle one of finite numbers, or the mean of the two in the middle; undefined of none. */
export function medianOf(numbers: readonly number[]): number | undefined {
  const sorted = numbers.filter(Number.isFinite).sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle]
  return upper === undefined || sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2
}
