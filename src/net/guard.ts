import type { LookupAddress } from 'node:dns'
import { lookup as lookupName } from 'node:dns/promises'
import { createWriteStream } from 'node:fs'
import { rm } from 'node:fs/promises'
import type { LookupFunction } from 'node:net'
import { pipeline } from 'node:stream/promises'
import type { Agent, Dispatcher } from 'undici'
import { isPublicAddress } from './address.ts'
import { type UrlRule, urlFault } from './url-rule.ts'

/** Redirects followed by one download; each is held to the same rule as the URL itself. */
export const MAX_REDIRECTS = 3
/** Longest a connection may take to open. */
export const CONNECT_TIMEOUT_MS = 10_000

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

/** All addresses of a name. */
export type Resolve = (hostname: string) => Promise<LookupAddress[]>

/** A download that did not work. The message is for the caller: of the URL it shows only host and path. */
export class DownloadError extends Error {
  constructor(url: string, problem: string, options?: ErrorOptions) {
    super(`could not be fetched from ${describeUrl(url)}: ${problem}`, options)
    this.name = 'DownloadError'
  }
}

/** Raised inside a connection attempt, before anything was sent. */
class BlockedAddress extends Error {}

/** `resolve` replaces DNS in tests. */
export function createGuard(rule: UrlRule, resolve: Resolve = resolveAll): Guard {
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

const resolveAll: Resolve = (hostname) => lookupName(hostname, { all: true })

/**
 * An agent that connects only to addresses which were checked: what `lookup` answers is what the socket is opened to.
 * An address that stands in the URL itself is not looked up; `urlFault` has checked it.
 */
async function createAgent({ allowPrivate }: UrlRule, resolve: Resolve): Promise<Agent> {
  const { Agent } = await import('undici')
  const checked = async (hostname: string) => {
    const addresses = await resolve(hostname)
    const blocked = !allowPrivate && addresses.some(({ address }) => !isPublicAddress(address))
    if (blocked || !addresses[0]) throw new BlockedAddress()
    return { addresses, first: addresses[0] }
  }
  const lookup: LookupFunction = (hostname, options, callback) => {
    checked(hostname).then(
      ({ addresses, first }) => (options.all ? callback(null, addresses) : callback(null, first.address, first.family)),
      (error: unknown) => callback(error as Error, ''),
    )
  }
  return new Agent({ connect: { timeout: CONNECT_TIMEOUT_MS, lookup } })
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

function describeError(error: unknown): string {
  if (error instanceof BlockedAddress) return 'its host has no address, or one that is not public'
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error'
  switch (code) {
    case 'ENOTFOUND':
      return 'its host is not known to DNS'
    case 'ECONNREFUSED':
      return 'the connection was refused'
    case 'UND_ERR_CONNECT_TIMEOUT':
      return 'the connection could not be opened in time'
    case 'UND_ERR_SOCKET':
    case 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH':
    case 'ECONNRESET':
      return 'the connection was lost'
    default:
      return `the transfer failed (${code})`
  }
}
