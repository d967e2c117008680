/** A resource that many draw on, with a bound for each of them and one in all. */
export type Shares = {
  /** Whether one has its whole share already, or all have what there is; `keyOf` is called where it can matter. */
  isFull(keyOf: () => string): boolean
  /** Takes an amount, whether or not it is there. What it returns gives the amount back; idempotent. */
  take(key: string, amount: number): () => void
}

export type ShareLimits = { readonly perKey: number; readonly inAll: number }

export function createShares({ perKey, inAll }: ShareLimits): Shares {
  const taken = new Map<string, number>()
  let total = 0

  const change = (key: string, by: number) => {
    const now = (taken.get(key) ?? 0) + by
    if (now === 0) taken.delete(key)
    else taken.set(key, now)
    total += by
  }
  return {
    isFull: (keyOf) => total >= inAll || (total >= perKey && (taken.get(keyOf()) ?? 0) >= perKey),
    take(key, amount) {
      let held = amount
      change(key, held)
      return () => {
        change(key, -held)
        held = 0
      }
    },
  }
}
