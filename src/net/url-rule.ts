import type { FieldFault } from '../problems.ts'
import { addressOfHost, isPublicAddress } from './address.ts'
import { urlFormFault } from './url-form.ts'

/** Where this server may connect to on a caller's behalf. */
export type UrlRule = {
  /** Lifts the rule that every address must be public. */
  readonly allowPrivate: boolean
  /** Hosts, `*.example.com` for all subdomains of one; undefined: any host. Does not lift the address rule. */
  readonly allowlist?: readonly string[] | undefined
}

/** What is wrong with a URL, without asking DNS; undefined: nothing. Reads on from the name of a field. */
export const urlFault = (url: string, rule: UrlRule): string | undefined =>
  urlFormFault(url) ?? urlAddressFault(url, rule)

/**
 * The part of `urlFault` that holds where this server connects itself. The URL parser has by then brought every
 * spelling of an IPv4 address (decimal, octal, hex, short) into its dotted form. A URL of no valid form passes.
 */
export function urlAddressFault(url: string, { allowPrivate, allowlist }: UrlRule): string | undefined {
  const host = hostOf(url)
  if (host === undefined) return undefined
  if (!allowPrivate && isLocalName(host)) return 'must not point to this machine'
  const address = addressOfHost(host)
  if (!allowPrivate && address !== undefined && !isPublicAddress(address)) return 'must point to a public address'
  if (allowlist && !allowlist.some((pattern) => matchesHost(pattern, host)))
    return 'must be on one of the allowed hosts'
  return undefined
}

const hostOf = (url: string): string | undefined => URL.parse(url)?.hostname.replace(/\.$/, '')

/** RFC 6761: these names always mean the machine itself. */
const isLocalName = (host: string): boolean => host === 'localhost' || host.endsWith('.localhost')

function matchesHost(pattern: string, host: string): boolean {
  const wildcard = pattern.startsWith('*.')
  // Through the URL parser, so that a pattern may be written in capitals, in Unicode or with a trailing dot.
  const base = hostOf(`http://${wildcard ? pattern.slice(2) : pattern}`)
  if (!base) return false
  return wildcard ? host.endsWith(`.${base}`) : host === base
}

const URL_FIELDS = ['video_url', 'image_url', 'audio_url'] as const

/** What is wrong with the URLs of a submit, by `urlAddressFault`, each with its field. */
export function inputUrlFaults(
  urls: Readonly<Partial<Record<(typeof URL_FIELDS)[number], string | undefined>>>,
  rule: UrlRule,
): FieldFault[] {
  return URL_FIELDS.flatMap((field) => {
    const url = urls[field]
    const message = url === undefined ? undefined : urlAddressFault(url, rule)
    return message === undefined ? [] : [{ path: `/${field}`, message }]
  })
}
