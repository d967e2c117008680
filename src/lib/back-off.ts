/** Pauses between attempts, in ms: the first, each following one twice as long, up to the longest. */
export type BackOff = { readonly firstMs: number; readonly maxMs: number }

/**
 * The pause after so many failures before this one, in ms, with jitter: between half of it and all of it, so that those
 * who failed together do not retry together.
 */
export function backOffMs(failures: number, { firstMs, maxMs }: BackOff, random: () => number = Math.random): number {
  return Math.min(firstMs * 2 ** failures, maxMs) * (0.5 + random() / 2)
}

/**
 * How long a receiver asks to be left alone, in ms, by its `Retry-After` (RFC 9110 10.2.3): seconds, or a date in the
 * form of HTTP. Undefined where it is neither.
 */
export function parseRetryAfter(header: string, now: number): number | undefined {
  const text = header.trim()
  if (/^\d{1,10}$/.test(text)) return Number(text) * 1000
  // Date.parse accepts much that is not an HTTP date; each of the three forms of RFC 9110 begins with a day's name.
  const at = /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun)/.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(at) ? undefined : Math.max(0, at - now)
}
