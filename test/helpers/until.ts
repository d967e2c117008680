import { setTimeout as sleep } from 'node:timers/promises'

/** Waits until `probe` gives something other than undefined or false, and returns it. Rejects after `timeoutMs`. */
export async function until<T>(
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  what = 'the awaited fact',
  timeoutMs = 30_000,
): Promise<T> {
  const end = performance.now() + timeoutMs
  for (;;) {
    const value = await probe()
    if (value !== undefined && value !== false) return value
    if (performance.now() > end) throw new Error(`${what} did not come about within ${timeoutMs} ms`)
    await sleep(5)
  }
}
