import { createWriteStream } from 'node:fs'
import { rm } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import type { Agent, Dispatcher } from 'undici'
import { createAgent, describeError, type Resolve } from './agent.ts'
import { type UrlRule, urlFault } from './url-rule.ts'

/** Redirects followed by one download; each is held to the same rule as the URL itself. */
const MAX_REDIRECTS = 3

export type DownloadOptions = {
  /** The file to write; one that exists is overwritten. */
  readonly to: string
  readonly maxBytes: number
  /** For the whole download, redirects and body included. */
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

/** Fetches what callers name, and only from where the rule allows. */
export type Guard = {
  /**
   * Fetches a URL into a file, which exists afterwards only if the whole of it was received. Rejects with
   * `DownloadError`, or with the signal's reason when `signal` aborts.
   */
  download(url: string, options: DownloadOptions): Promise<void>
  /** Cuts the connections that are open. Idempotent. */
  close(): Promise<void>
}

/** A download that did not work. The message is for the caller: of the URL it shows only host and path. */
export class DownloadError extends Error {
  constructor(url: string, problem: string, options?: ErrorOptions) {
    super(`could not be fetched from ${describeUrl(url)}: ${problem}`, options)
    this.name = 'DownloadError'
  }
}

/** `resolve` replaces DNS in tests. */
export function createGuard(rule: UrlRule, resolve?: Resolve): Guard {
  let agent: Promise<Agent> | undefined
  // undici is loaded with the first download: an idle server does without it.
  const openAgent = () => (agent ??= createAgent(rule, resolve))

  return {
    async download(url, options) {
      const deadline = new AbortController()
      const timer = setTimeout(() => deadline.abort(), options.timeoutMs)
      const signal = AbortSignal.any([options.signal, deadline.signal])
      try {
        const reply = await follow(url, { rule, dispatcher: await openAgent(), signal })
        await receive(reply, options, signal)
      } catch (error) {
        options.signal.throwIfAborted()
        if (deadline.signal.aborted) throw new DownloadError(url, `it took longer than ${options.timeoutMs / 1000} s`)
        throw error instanceof DownloadError ? error : new DownloadError(url, describeError(error), { cause: error })
      } finally {
        clearTimeout(timer)
      }
    },
    async close() {
      await (await agent)?.destroy()
    },
  }
}

type Reply = { url: string; response: Dispatcher.ResponseData }
type Way = { rule: UrlRule; dispatcher: Agent; signal: AbortSignal }

/** Asks for a URL and follows its redirects by hand, so that each target is held to the whole rule. */
async function follow(start: string, { rule, dispatcher, signal }: Way): Promise<Reply> {
  const { request } = await import('undici')
  let url = start
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
    const fault = urlFault(url, rule)
    if (fault !== undefined) throw new DownloadError(url, `${redirects ? 'it was redirected to, and ' : ''}it ${fault}`)
    const headers = { 'user-agent': 'musetalk-orchestrator', 'accept-encoding': 'identity' }
    const response = await request(url, { dispatcher, signal, headers, reset: true })
    const { location } = response.headers
    if (response.statusCode < 300 || response.statusCode > 399 || location === undefined) return { url, response }
    discard(response)
    url = URL.parse(String(location), url)?.href ?? String(location)
  }
  throw new DownloadError(start, `it was redirected more than ${MAX_REDIRECTS} times`)
}

/** Writes a reply's body to the file, never more than `maxBytes` of it, and removes the file if anything goes wrong. */
async function receive({ url, response }: Reply, { to, maxBytes }: DownloadOptions, signal: AbortSignal) {
  const tooLarge = () => new DownloadError(url, `it is larger than ${maxBytes} bytes`)
  const { statusCode, headers, body } = response
  if (statusCode < 200 || statusCode > 299) {
    discard(response)
    throw new DownloadError(url, `the server answered ${statusCode}`)
  }
  if (Number(headers['content-length']) > maxBytes) {
    discard(response)
    throw tooLarge()
  }
  const limited = async function* (chunks: AsyncIterable<Buffer>) {
    let received = 0
    for await (const chunk of chunks) {
      received += chunk.length
      if (received > maxBytes) throw tooLarge()
      yield chunk
    }
  }
  try {
    await pipeline(body, limited, createWriteStream(to), { signal })
  } catch (error) {
    await rm(to, { force: true })
    throw error
  }
}

/** Ends a reply whose body nobody wants; the error that this makes of it is expected. */
const discard = ({ body }: Dispatcher.ResponseData) => void body.on('error', () => undefined).destroy()

function describeUrl(url: string): string {
  const parsed = URL.parse(url)
  return parsed ? `${parsed.host}${parsed.pathname}` : 'a malformed address'
}
