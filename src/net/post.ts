import type { Agent, Dispatcher, request as Request } from 'undici'
import type { LookupAddress } from 'node:dns'
import { createFairSemaphore, type FairSemaphore, createOnce } from '../lib/concurrency.ts'
import { createLru } from '../lib/collections.ts'
import { limitTime, untilAborted } from '../lib/timing.ts'
import { createAgent, describeError, findAddresses } from './connections.ts'
import { createResolver, type Resolve } from './resolver.ts'
import { type UrlRule, checkUrl } from './url-rule.ts'

/** Maximum bytes read of a response; beyond it the connection is closed. */
export const ANSWER_MAX_BYTES = 64 * 1024
/**
 * Requests at the same time to one address, shared fairly by callers: 32 for a caller that is alone. That is twice its
 * limit for one host, so that a dead host does not block another host at the same address, such as a CDN's.
 */
export const POSTS_PER_ADDRESS = 64
/** Hosts whose addresses are cached; far more than requests at the same time. */
const HOSTS_KEPT = 10_000
/** Maximum time for the body after the status, in ms: only the status matters. */
const ANSWER_MAX_MS = 1_000

export type Post = {
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** For the whole exchange up to the answer's status. */
  readonly timeoutMs: number
  readonly signal: AbortSignal
  /** On whose behalf; bounds the look-ups of one caller. */
  readonly caller: string
}

/** The status of a response, and its `Retry-After` as received. */
export type Posted = { readonly status: number; readonly retryAfter?: string }

/** Posts to URLs of callers, only to hosts that the rule allows. Redirects are not followed. */
export type Poster = {
  /** Loads the HTTP client ahead of the first request. */
  prepare(): void
  /** Rejects with `PostError`, or with the signal's reason when `signal` aborts. */
  post(url: string, post: Post): Promise<Posted>
  /** Closes the open connections. Idempotent. */
  close(): Promise<void>
}

/** A request without a response. The message is for the caller and reveals nothing about the network. */
export class PostError extends Error {
  constructor(problem: string, options?: ErrorOptions) {
    super(problem, options)
    this.name = 'PostError'
  }
}

export function createPoster(rule: UrlRule, resolve: Resolve = createResolver()): Poster {
  /** Addresses by host, as checked when the last request to it took its slots: connections go only there. */
  const admitted = createLru<LookupAddress[]>(HOSTS_KEPT)
  // undici is loaded with the first request: an idle server does without it.
  const client = createOnce(() => openClient(rule, (hostname) => Promise.resolve(admitted.get(hostname) ?? [])))
  const slots = createAddressSlots()

  const exchange = async (url: string, post: Post, signal: AbortSignal): Promise<Posted> => {
    const error = checkUrl(url, rule)
    if (error !== undefined) throw new PostError(`the URL ${error}`)
    const { caller } = post
    const { hostname } = new URL(url)
    const lookUp = findAddresses(hostname, { rule, resolve, caller })
    const [opened, addresses] = await untilAborted(Promise.all([client.get(), lookUp]), signal)
    const request = { addresses: addresses.map(({ address }) => address), caller, signal }
    return slots.use(request, () => {
      admitted.set(hostname, addresses, 1)
      return send(opened, url, { ...post, signal })
    })
  }

  const send = async ({ request, agent }: Client, url: string, { headers, body, signal }: Post): Promise<Posted> => {
    const responding = request(url, { method: 'POST', headers, body, signal, dispatcher: agent })
    // undici handles an abort only once there is a connection.
    responding.catch(() => undefined)
    const response = await untilAborted(responding, signal)
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

type SlotRequest = { readonly addresses: readonly string[]; readonly caller: string; readonly signal: AbortSignal }

/** Slots at each address, whatever the host's name, shared fairly by callers. */
function createAddressSlots() {
  const semaphores = new Map<string, FairSemaphore>()

  const useOne = async <T>(address: string, { caller, signal }: SlotRequest, task: () => Promise<T>): Promise<T> => {
    const semaphore = semaphores.get(address) ?? createFairSemaphore(POSTS_PER_ADDRESS)
    semaphores.set(address, semaphore)
    try {
      return await semaphore.use(caller, signal, task)
    } finally {
      if (semaphore.isIdle) semaphores.delete(address)
    }
  }
  return {
    /** Takes a slot at each address, since the connection may be to any; in sorted order, so that there is no deadlock. */
    use: <T>(request: SlotRequest, task: () => Promise<T>): Promise<T> =>
      request.addresses.toSorted().reduce((inner, address) => () => useOne(address, request, inner), task)(),
  }
}

type Client = { readonly agent: Agent; readonly request: typeof Request }

async function openClient(rule: UrlRule, resolve: Resolve): Promise<Client> {
  const [{ request }, agent] = await Promise.all([import('undici'), createAgent(rule, resolve)])
  return { request, agent }
}

/** Reads a short response to its end, so that its connection can be reused; closes the connection of a long one. */
async function drain({ body }: Dispatcher.ResponseData): Promise<void> {
  const close = () => body.on('error', () => undefined).destroy()
  const timer = setTimeout(close, ANSWER_MAX_MS)
  await body.dump({ limit: ANSWER_MAX_BYTES }).catch(close)
  clearTimeout(timer)
}
