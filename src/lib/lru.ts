/** Values kept while they are among the recently used ones. */
export type Lru<T> = {
  get(key: string): T | undefined
  /** `weight`: what it counts for, in whatever the limit is meant in. */
  set(key: string, value: T, weight: number): void
  delete(key: string): void
}

type Kept<T> = { readonly value: T; readonly weight: number }

/**
 * Keeps what was used last, up to `maxWeight` in all, in two generations: what is used moves to the young one; when
 * that weighs half the limit, the old one is dropped whole. No verb costs more for how many there are.
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
