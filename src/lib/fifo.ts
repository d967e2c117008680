/**
 * First in, first out; every verb costs the same however many wait. (A `Map` in order of insertion is no such queue:
 * finding its first entry walks over all that were deleted before it.)
 */
export type Fifo<T> = {
  readonly size: number
  readonly first: T | undefined
  /** Puts a value at the tail. What it returns takes the value out again, from wherever it is; idempotent. */
  add(value: T): () => void
  /** Takes the first out; undefined where there is none. */
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
