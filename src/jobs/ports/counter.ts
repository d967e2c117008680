/** How often something happened since its window began, and how long that goes on, in ms. */
export type Count = { readonly current: number; readonly ttlMs: number }

/** A counter that all replicas share. */
export type Counter = {
  /**
   * Adds one to a key; the first count starts a window of `windowMs`. Rejects with `store_unavailable`.
   */
  count(key: string, windowMs: number): Promise<Count>
  /** Releases what it holds. Idempotent. */
  close(): Promise<void>
}
