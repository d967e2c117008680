import type { LookupAddress } from 'node:dns'
import { lookup as lookupName } from 'node:dns/promises'
import type { LookupFunction } from 'node:net'
import type { Agent } from 'undici'
import { isPublicAddress } from './address.ts'
import type { UrlRule } from './url-rule.ts'

/** Longest a connection may take to open. */
export const CONNECT_TIMEOUT_MS = 10_000

/** All addresses of a name. */
export type Resolve = (hostname: string) => Promise<LookupAddress[]>

/** Raised inside a connection attempt, before anything was sent. */
class BlockedAddress extends Error {}

const resolveAll: Resolve = (hostname) => lookupName(hostname, { all: true })

/**
 * A look-up for sockets that returns checked addresses only; the socket connects to what it returns. An address in the URL
 * itself is not looked up: `urlFault` checks it before the request. `resolve` replaces DNS in tests.
 */
export function createLookup({ allowPrivate }: UrlRule, resolve: Resolve = resolveAll): LookupFunction {
  const resolveOnce = sharing(resolve)
  const checked = async (hostname: string) => {
    const addresses = await resolveOnce(hostname)
    const blocked = !allowPrivate && addresses.some(({ address }) => !isPublicAddress(address))
    if (blocked || !addresses[0]) throw new BlockedAddress()
    return { addresses, first: addresses[0] }
  }
  return (hostname, options, callback) => {
    checked(hostname).then(
      ({ addresses, first }) => (options.all ? callback(null, addresses) : callback(null, first.address, first.family)),
      (error: unknown) => callback(error as Error, ''),
    )
  }
}

/** An agent that connects to checked addresses only. */
export async function createAgent(rule: UrlRule, resolve?: Resolve): Promise<Agent> {
  const { Agent } = await import('undici')
  return new Agent({ connect: { timeout: CONNECT_TIMEOUT_MS, lookup: createLookup(rule, resolve) } })
}

/**
 * One look-up at a time for each name: the system has few threads for them, and connections to one name that nobody
 * answers for must not take them all.
 */
function sharing(resolve: Resolve): Resolve {
  const underWay = new Map<string, Promise<LookupAddress[]>>()
  return (hostname) => {
    const known = underWay.get(hostname)
    if (known) return known
    const looking = resolve(hostname).finally(() => underWay.delete(hostname))
    underWay.set(hostname, looking)
    return looking
  }
}

/** What went wrong with a transfer, in words for a caller. */
export function describeError(error: unknown): string {
  if (error instanceof BlockedAddress) return 'its host has no address, or one that is not public'
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error'
  switch (code) {
    case 'ENOTFOUND':
      return 'its host is not known to DNS'
    case 'ECONNREFUSED':
      return 'the connection was refused'
    case 'ETIMEDOUT':
    case 'UND_ERR_CONNECT_TIMEOUT':
      return 'the connection could not be opened in time'
    case 'UND_ERR_SOCKET':
    case 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH':
    case 'ECONNRESET':
      return 'the connection was lost'
    default:
      return describeFamily(code)
  }
}

/** Error codes that share a prefix: HTTP parser, decompressors, certificates. */
function describeFamily(code: string): string {
  if (code.startsWith('HPE_')) return 'the server answered what is not HTTP'
  if (/^(Z_|ZSTD_|ERR__ERROR_FORMAT|ERR_BROTLI)/.test(code)) return 'its compressed body cannot be unpacked'
  if (/CERT|SELF_SIGNED|UNABLE_TO_VERIFY/.test(code)) return `its certificate is not valid (${code})`
  return `the transfer failed (${code})`
}
