import type { Agent, Dispatcher, request as Request } from 'undici'
import type { LookupAddress } from 'node:dns'
import { createFairSemaphore, type FairSemaphore } from '../lib/semaphore.ts'
import { createLru } from '../lib/collections.ts'
import { limitTime, untilAborted } from '../lib/timing.ts'
import { createAgent, describeError, findAddresses } from './connections.ts'
import { createResolver, type Resolve } from './resolver.ts'
import { type UrlRule, checkUrl } from './url-rule.ts'
import { createOnce } from '../lib/single-flight.ts'

/** Most that is read of an answer, in bytes; the rest is cut off with its connection. */
export const ANSWER_MAX_BYTES = 64 * 1024
/**
 * Requests at the same time to one address, of which one caller has its share: 32 where it is alone. That is twice what
 * it may have to one host, so that a dead host does not hold up another at its address, such as that of a CDN.
 */
export const POSTS_PER_ADDRESS = 64
/** Hosts whose addresses are kept; far more than requests at the same time. */
const HOSTS_KEPT = 10_000
/** Longest an answer may go on after its status, in ms: by then it is known what it says. */
const ANSWER_MAX_MS = 1_000

export type Post = {
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** For the whole exchange up to the answer's status. */
  readonly timeoutMs: number
  readonly signal: AbortSignal
  /** On whose behalf: its look-ups are bounded. */
  readonly caller: string
}

/** An answer's status, and its `Retry-After` as it came. */
export type Posted = { readonly status: number; readonly retryAfter?: string }

/** Posts to URLs that callers name, and only to where the rule allows. Redirects are answers like any other. */
export type Poster = {
  /** Loads what the first request needs, which would otherwise wait for it. */
  prepare(): void
  /** Rejects with `PostError`, or with the signal's reason when `signal` aborts. */
  post(url: string, post: Post): Promise<Posted>
  /** Cuts the connections that are open. Idempotent. */
  close(): Promise<void>
}

/** A request that got no answer. The message is for the caller and reveals nothing of the network. */
export class PostError extends Error {
  constructor(problem: string, options?: ErrorOptions) {
    super(problem, options)
    this.name = 'PostError'
  }
}

export function createPoster(rule: UrlRule, resolve: Resolve = createResolver()): Poster {
  /** Addresses by host, as they were when the last request to it took its places: connections go there and nowhere else. */
  const counted = createLru<LookupAddress[]>(HOSTS_KEPT)
  // undici is loaded with the first request: an idle server does without it.
  const client = createOnce(() => openClient(rule, (hostname) => Promise.resolve(counted.get(hostname) ?? [])))
  const places = createPlaces()

  const exchange = async (url: string, post: Post, signal: AbortSignal): Promise<Posted> => {
    const fault = checkUrl(url, rule)
    if (fault !== undefined) throw new PostError(`the URL ${fault}`)
    const { caller } = post
    const { hostname } = new URL(url)
    const lookUp = findAddresses(hostname, { rule, resolve, caller })
    const [opened, addresses] = await untilAborted(Promise.all([client.get(), lookUp]), signal)
    const place = { addresses: addresses.map(({ address }) => address), caller, signal }
    return places.use(place, () => {
      counted.set(hostname, addresses, 1)
      return send(opened, url, { ...post, signal })
    })
  }

  const send = async ({ request, agent }: Client, url: string, { headers, body, signal }: Post): Promise<Posted> => {
    const asking = request(url, { method: 'POST', headers, body, signal, dispatcher: agent })
    // undici handles an abort only once there is a connection.
    asking.catch(() => undefined)
    const response = await untilAborted(asking, signal)
    await drain(response)
    const { 'retry-after': retryAfter } = response.headers
    return { status: response.statusCode, ...(typeof retryAfter === 'string' && { retryAfter }) }
  }

  return {
    prepare: () => void client.get().catch(() => undefined),
    async post(url, post) {
      const { timeoutMs: limitMs, signal } = post
      const timeoutError = () => new PostError(`there was no answer within ${limitMs / 1000} s`)
      try {
        return await limitTime({ limitMs, signal, timeoutError }, (limited) => exchange(url, post, limited))
      } catch (error) {
        signal.throwIfAborted()
        throw error instanceof PostError ? error : new PostError(describeError(error), { cause: error })
      }
    },
    async close() {
      await (await client.current)?.agent.destroy()
    },
  }
}

type Place = { readonly addresses: readonly string[]; readonly caller: string; readonly signal: AbortSignal }

/** Places at each address, by whatever name it is reached, of which one caller has its share. */
function createPlaces() {
  const semaphores = new Map<string, FairSemaphore>()

  const useOne = async <T>(address: string, { caller, signal }: Place, task: () => Promise<T>): Promise<T> => {
    const semaphore = semaphores.get(address) ?? createFairSemaphore(POSTS_PER_ADDRESS)
    semaphores.set(address, semaphore)
    try {
      return await semaphore.use(caller, signal, task)
    } finally {
      if (semaphore.isIdle) semaphores.delete(address)
    }
  }
  return {
    /** Takes a place at each address, since the connection may be to any, in their order, so that nobody waits for ever. */
    use: <T>(place: Place, task: () => Promise<T>): Promise<T> =>
      place.addresses.toSorted().reduce((inner, address) => () => useOne(address, place, inner), task)(),
  }
}

type Client = { readonly agent: Agent; readonly request: typeof Request }

async function openClient(rule: UrlRule, resolve: Resolve): Promise<Client> {
  const [{ request }, agent] = await Promise.all([import('undici'), createAgent(rule, resolve)])
  return { request, agent }
}

/** Reads an answer to its end, so that its connection can be used again, where that is near. Its status is what counts. */
async function drain({ body }: Dispatcher.ResponseData): Promise<void> {
  const cut = () => body.on('error', () => undefined).destroy()
  const timer = setTimeout(cut, ANSWER_MAX_MS)
  await body.dump({ limit: ANSWER_MAX_BYTES }).catch(cut)
  clearTimeout(timer)
}
