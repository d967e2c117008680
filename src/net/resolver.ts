import type { LookupAddress } from 'node:dns'
import { Resolver } from 'node:dns/promises'
import { readFile } from 'node:fs/promises'
import { createFairSemaphore } from '../lib/concurrency.ts'
import { createLru } from '../lib/collections.ts'
import { codeOf } from '../lib/errors.ts'

/** All addresses of a name. `caller`: on whose behalf; bounds the concurrent look-ups of one caller. */
export type Resolve = (hostname: string, caller?: string) => Promise<LookupAddress[]>

/** DNS did not answer, or failed, so that it is unknown whether the name has an address. A later look-up may succeed. */
export class LookupUnavailable extends Error {
  constructor(options?: ErrorOptions) {
    super('the host name could not be looked up', options)
    this.name = 'LookupUnavailable'
  }
}

/** Timeout of a query to one DNS server, in ms. */
const QUERY_TIMEOUT_MS = 2_000
/** Concurrent look-ups, shared fairly by callers, and the maximum wait for a slot, in ms. */
const MAX_LOOKUPS = 128
const SLOT_TIMEOUT_MS = 3_000
/** How long the outcome of a look-up is cached, in ms, and for how many names. */
export const LOOKUP_MEMORY_MS = 5_000
const NAMES_KEPT = 10_000
/** Maximum addresses of a name per family. */
const MAX_ADDRESSES = 4

export type ResolverOptions = {
  /** DNS servers as `address:port`; those of `/etc/resolv.conf` if undefined. */
  readonly servers?: readonly string[]
  readonly hostsFile?: string
  readonly resolvConf?: string
}

type Remembered = { readonly until: number; readonly addresses: Promise<LookupAddress[]> }

/**
 * Looks names up in the hosts file and in DNS. `getaddrinfo` is not used, as it occupies one of the few threads of this
 * process until DNS has answered. Rejects with `LookupUnavailable`, or with the code `ENOTFOUND` for an unknown name.
 */
export function createResolver(options: ResolverOptions = {}): Resolve {
  const semaphore = createFairSemaphore(MAX_LOOKUPS)
  const memory = createLru<Remembered>(NAMES_KEPT)
  const lookUp = createLookUp(options)

  const recall = (name: string) => {
    const known = memory.get(name)
    return known && performance.now() < known.until ? known.addresses : undefined
  }

  /** Requests for a name share one look-up while it runs, and its outcome for a while after. */
  const lookUpOnce = (name: string) => {
    const known = recall(name)
    if (known) return known
    const addresses = lookUp(name)
    const remember = (until: number) => memory.set(name, { until, addresses }, 1)
    const settle = () => remember(performance.now() + LOOKUP_MEMORY_MS)
    remember(Infinity)
    addresses.then(settle, settle)
    return addresses
  }

  return async (hostname, caller = '') => {
    const name = hostname.toLowerCase()
    const known = recall(name)
    if (known) return known
    try {
      // A timeout of this wait is not cached: it says nothing about the name.
      return await semaphore.use(caller, AbortSignal.timeout(SLOT_TIMEOUT_MS), () => lookUpOnce(name))
    } catch (error) {
      throw error instanceof DOMException ? new LookupUnavailable({ cause: error }) : error
    }
  }
}

function createLookUp({ servers, hostsFile = '/etc/hosts', resolvConf = '/etc/resolv.conf' }: ResolverOptions) {
  let client: { readonly settings: string; readonly resolver: Resolver } | undefined

  /** A client reads its servers when it is created; a new one is created when resolv.conf has changed. */
  const clientFor = (settings: string) => {
    if (client?.settings === settings) return client.resolver
    const resolver = new Resolver({ timeout: QUERY_TIMEOUT_MS, tries: 1 })
    if (servers) resolver.setServers(servers)
    client = { settings, resolver }
    return resolver
  }

  return async (name: string): Promise<LookupAddress[]> => {
    const [hosts, settings] = await Promise.all([readText(hostsFile), readText(resolvConf)])
    const listed = addressesIn(hosts, name)
    if (listed.length > 0) return listed
    if (isLoopbackName(name)) return [addressOf('127.0.0.1'), addressOf('::1')]
    for (const candidate of candidatesFor(name, settings)) {
      const addresses = await query(clientFor(settings), candidate)
      if (addresses.length > 0) return addresses
    }
    throw Object.assign(new Error('unknown host'), { code: 'ENOTFOUND' })
  }
}

/** Empty if the name does not exist or has no address. */
async function query(resolver: Resolver, name: string): Promise<LookupAddress[]> {
  const answers = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)])
  const addresses = answers.flatMap((answer) =>
    answer.status === 'fulfilled' ? answer.value.slice(0, MAX_ADDRESSES) : [],
  )
  if (addresses.length > 0) return addresses.map(addressOf)
  const errors = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason as unknown] : []))
  // A name that does not exist has no address of either family.
  if (errors.some((error) => hasCode(error, ['ENOTFOUND', 'EBADNAME']))) return []
  const failure = errors.find((error) => !hasCode(error, ['ENODATA']))
  if (failure !== undefined) throw new LookupUnavailable({ cause: failure })
  return []
}

const hasCode = (error: unknown, codes: readonly string[]) => codes.includes(codeOf(error) ?? '')

const addressOf = (address: string): LookupAddress => ({ address, family: address.includes(':') ? 6 : 4 })

const readText = (path: string) => readFile(path, 'utf8').catch(() => '')

/** The lines of a file of settings, in words, without comments. */
const linesOf = (text: string): string[][] =>
  text.split('\n').map((line) =>
    line
      .replace(/[#;].*/, '')
      .trim()
      .toLowerCase()
      .split(/\s+/),
  )

/** What hosts(5) lists for a name. */
const addressesIn = (hosts: string, name: string): LookupAddress[] =>
  linesOf(hosts).flatMap(([address = '', ...names]) => (names.includes(name) ? [addressOf(address)] : []))

/** RFC 6761 6.3: these are never looked up in DNS. */
const isLoopbackName = (name: string) => /(^|\.)localhost\.?$/.test(name)

/** A name as it is and with the search suffixes of resolv.conf(5); a name without a dot is most likely local. */
function candidatesFor(name: string, settings: string): string[] {
  if (name.endsWith('.')) return [name]
  const [, ...suffixes] = linesOf(settings).findLast(([word]) => word === 'search' || word === 'domain') ?? []
  const local = suffixes.map((suffix) => `${name}.${suffix}`)
  return name.includes('.') ? [name, ...local] : [...local, name]
}
