import type { LookupAddress } from 'node:dns'
import type { LookupFunction } from 'node:net'
import type { Agent } from 'undici'
import { addressOfHost, isPublicAddress, type UrlRule } from './url-rule.ts'
import { LookupUnavailable, type Resolve } from './resolver.ts'
import { codeOf } from '../lib/errors.ts'

/** Longest a connection may take to open, in ms; looking its host up is a part of that. */
export const CONNECT_TIMEOUT_MS = 10_000

/** Raised inside a connection attempt, before anything was sent. */
class BlockedAddress extends Error {}

/** Looks names up for sockets, on behalf of a caller. */
export type CheckedLookup = { readonly rule: UrlRule; readonly resolve: Resolve; readonly caller?: string }

/** The addresses of a URL's host, none of which the rule forbids; never empty. Rejects as `describeError` describes. */
export async function findAddresses(
  hostname: string,
  { rule, resolve, caller }: CheckedLookup,
): Promise<LookupAddress[]> {
  const written = addressOfHost(hostname)
  const addresses =
    written === undefined
      ? await resolve(hostname, caller)
      : [{ address: written, family: written.includes(':') ? 6 : 4 }]
  const isBlocked = !rule.allowPrivate && addresses.some(({ address }) => !isPublicAddress(address))
  if (isBlocked || addresses.length === 0) throw new BlockedAddress()
  return addresses
}

/**
 * A look-up for sockets that returns checked addresses only; the socket connects to what it returns. An address in the URL
 * itself is not looked up: `urlFault` checks it before the request.
 */
export function createLookup(lookup: CheckedLookup): LookupFunction {
  return (hostname, options, callback) => {
    findAddresses(hostname, lookup).then(
      (addresses) => {
        const [first] = addresses
        if (options.all) callback(null, addresses)
        else callback(null, first?.address ?? '', first?.family)
      },
      (error: unknown) => callback(error as Error, ''),
    )
  }
}

/** An agent that connects to checked addresses only. */
export async function createAgent(rule: UrlRule, resolve: Resolve): Promise<Agent> {
  const { Agent } = await import('undici')
  return new Agent({ connect: { timeout: CONNECT_TIMEOUT_MS, lookup: createLookup({ rule, resolve }) } })
}

/** The same for a name that does not exist and for one of the private network: nobody finds out what there is in there. */
const NO_PUBLIC_HOST = 'its host is unknown or not public'

/** What went wrong with a transfer, in words for a caller. */
export function describeError(error: unknown): string {
  if (error instanceof BlockedAddress) return NO_PUBLIC_HOST
  if (error instanceof LookupUnavailable) return 'its host could not be looked up'
  const code = codeOf(error) ?? 'unknown error'
  switch (code) {
    case 'ENOTFOUND':
      return NO_PUBLIC_HOST
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
