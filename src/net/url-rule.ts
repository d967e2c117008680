import ipaddr from 'ipaddr.js'
import type { FieldError } from '../problems.ts'

/** IPv6 addresses that are routed on the internet (RFC 4291); all else is local, embeds an IPv4 address or is unassigned. */
const GLOBAL_UNICAST = ipaddr.IPv6.parse('2000::')
const GLOBAL_UNICAST_BITS = 3

/**
 * Whether an IP address is one anybody on the internet could reach. False for private, loopback, link-local, reserved
 * and translated (IPv4-compatible, NAT64, 6to4) addresses; an IPv4-mapped one counts as the IPv4 address in it.
 */
export function isPublicAddress(address: string): boolean {
  if (!ipaddr.isValid(address)) return false
  const parsed = ipaddr.process(address)
  if (parsed.range() !== 'unicast') return false
  return parsed instanceof ipaddr.IPv4 || parsed.match(GLOBAL_UNICAST, GLOBAL_UNICAST_BITS)
}

/** The IP address that a URL's host is, without brackets; undefined for a name. */
export function addressOfHost(hostname: string): string | undefined {
  const bare = hostname.replace(/^\[|\]$/g, '')
  return ipaddr.isValid(bare) ? bare : undefined
}

/** Longest URL accepted, in characters. */
export const URL_MAX_LENGTH = 2048

/** What is wrong with a URL's form, for any fetcher: scheme, length, credentials. Reads on from the name of a field. */
export function checkUrlForm(url: string): string | undefined {
  if (url.length > URL_MAX_LENGTH) return `must be at most ${URL_MAX_LENGTH} characters`
  // The URL parser would strip or encode these; another fetcher might not.
  if (/[\p{Cc} \\]/u.test(url)) return 'must not contain spaces, control characters or backslashes'
  const parsed = URL.parse(url)
  if (!parsed || !/^https?:\/\//i.test(url)) return 'must be an absolute http or https URL'
  if (parsed.username || parsed.password) return 'must not contain credentials'
  return undefined
}

/** Where this server may connect to on a caller's behalf. */
export type UrlRule = {
  /** Lifts the rule that every address must be public. */
  readonly allowPrivate: boolean
  /** Hosts, `*.example.com` for all subdomains of one; undefined: any host. Does not lift the address rule. */
  readonly allowlist?: readonly string[] | undefined
}

/** What is wrong with a URL, without asking DNS; undefined: nothing. Reads on from the name of a field. */
export const checkUrl = (url: string, rule: UrlRule): string | undefined => checkUrlForm(url) ?? checkUrlHost(url, rule)

/**
 * The part of `urlFault` that holds where this server connects itself. The URL parser has by then brought every
 * spelling of an IPv4 address (decimal, octal, hex, short) into its dotted form. A URL of no valid form passes.
 */
export function checkUrlHost(url: string, { allowPrivate, allowlist }: UrlRule): string | undefined {
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
export function checkInputUrls(
  urls: Readonly<Partial<Record<(typeof URL_FIELDS)[number], string | undefined>>>,
  rule: UrlRule,
): FieldError[] {
  return URL_FIELDS.flatMap((field) => {
    const url = urls[field]
    const message = url === undefined ? undefined : checkUrlHost(url, rule)
    return message === undefined ? [] : [{ path: `/${field}`, message }]
  })
}

/**
 * Scheme, credentials, host and the rest of a URL, wherever it stands in a text. An apostrophe may be a part of a URL
 * (RFC 3986 2.2), or the quote that ends it: what follows tells.
 */
const URL_IN_TEXT =
  /\b([a-z][a-z\d+.-]{1,20}:\/\/)(?:[^\s/?#@'"<>\\]*@)?([^\s/?#'"<>\\]*)(?:[^\s'"<>\\]|'(?=[\w%/?&=#]))*/gi
/** Python's urllib3 names a host and a path apart: `Max retries exceeded with url: /face.mp4?signature=...`. */
const PATH_IN_TEXT = /\b(with url: )\/(?:[^\s'"<>\\]|'(?=[\w%/?&=#]))*/gi

/** Reduces every URL in a text to its scheme and host: its path or its query may be a secret. Idempotent. */
export const reduceUrls = (text: string): string => text.replace(URL_IN_TEXT, '$1$2/…').replace(PATH_IN_TEXT, '$1/…')

/** Shorter paths are no secret, and are a part of many a word. */
const PATH_MIN_LENGTH = 6

/** As `reduceUrls`, and removes the paths and queries of these URLs also where they stand without their host. */
export function reduceKnownUrls(text: string, urls: readonly string[]): string {
  const parts = urls.flatMap((url) => {
    const { pathname = '', search = '' } = URL.parse(url) ?? {}
    return [pathname + search, search, pathname, decoded(pathname)].filter((part) => part.length >= PATH_MIN_LENGTH)
  })
  return parts.reduce((rest, part) => rest.replaceAll(part, '/…'), reduceUrls(text))
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    return path
  }
}
