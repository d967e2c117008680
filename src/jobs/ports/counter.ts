/** How often something happened since its window began, and how long that goes on, in ms. */
export type Count = { readonly current: number; readonly ttlMs: number }

/** Counts for all servers that share it. */
export type Counter = {
  /**
   * Counts once more under a key; its first count begins a window of `windowMs`. Rejects with `store_unavailable` where
   * it cannot be counted.
   */
  count(key: string, windowMs: number): Promise<Count>
  /** Releases what it holds. Idempotent. */
  close(): Promise<void>
}
