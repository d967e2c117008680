/** Values kept while they are among the recently used ones. */
export type Recent<T> = {
  get(key: string): T | undefined
  set(key: string, value: T): void
  delete(key: string): void
}

/**
 * Keeps at least the `count` keys used last, and less than twice as many, in two generations: what is used moves to
 * the young one; when that is full the old one is dropped whole. No verb costs more for how many there are.
 */
export function createRecent<T>(count: number): Recent<T> {
  let [young, old] = [new Map<string, T>(), new Map<string, T>()]

  const set = (key: string, value: T) => {
    young.set(key, value)
    if (young.size < count) return
    old = young
    young = new Map()
  }
  return {
    set,
    get(key) {
      const value = young.get(key)
      if (value !== undefined) return value
      const older = old.get(key)
      if (older !== undefined) set(key, older)
      return older
    },
    delete(key) {
      young.delete(key)
      old.delete(key)
    },
  }
}
