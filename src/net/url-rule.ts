import ipaddr from 'ipaddr.js'
import type { FieldError } from '../problems.ts'

/** IPv6 addresses that are routed on the internet (RFC 4291); all else is local, embeds an IPv4 address or is unassigned. */
const GLOBAL_UNICAST = ipaddr.IPv6.parse('2000::')
const GLOBAL_UNICAST_BITS = 3

/**
 * Whether an IP address is reachable from the internet. False for private, loopback, link-local, reserved and
 * translated (IPv4-compatible, NAT64, 6to4) addresses; an IPv4-mapped one counts as the IPv4 address in it.
 */
export function isPublicAddress(address: string): boolean {
  if (!ipaddr.isValid(address)) return false
  const parsed = ipaddr.process(address)
  if (parsed.range() !== 'unicast') return false
  return parsed instanceof ipaddr.IPv4 || parsed.match(GLOBAL_UNICAST, GLOBAL_UNICAST_BITS)
}

/**
 * A host whose last label does not start with a digit is a name: every spelling of an IPv4 address ends in a number (URL
 * Standard, "ends in a number checker"), and one of an IPv6 address has a colon.
 */
const NAME = /^(?:[^:]*\.)?[^:.\d][^:.]*$/

/** The IP address of a URL's host, without brackets; undefined for a name. */
export function addressOfHost(hostname: string): string | undefined {
  const bare = hostname.replace(/^\[|\]$/g, '')
  // For a name the library makes an error with its stack: a tenth of what a submit costs.
  return !NAME.test(bare) && ipaddr.isValid(bare) ? bare : undefined
}

/** Longest URL accepted, in characters. */
export const URL_MAX_LENGTH = 2048

/** The error in a URL's form, for any fetcher: scheme, length, credentials. The text continues a field's name. */
export function checkUrlForm(url: string): string | undefined {
  if (url.length > URL_MAX_LENGTH) return `must be at most ${URL_MAX_LENGTH} characters`
  // The URL parser would strip or encode these; another fetcher might not.
  if (/[\p{Cc} \\]/u.test(url)) return 'must not contain spaces, control characters or backslashes'
  const parsed = URL.parse(url)
  if (!parsed || !/^https?:\/\//i.test(url)) return 'must be an absolute http or https URL'
  if (parsed.username || parsed.password) return 'must not contain credentials'
  return undefined
}

/** A URL without its query and fragment: that of a presigned URL is a secret. */
export const withoutQuery = (url: string): string => url.replace(/[?#].*$/s, '')

/** Where this server may connect to on a caller's behalf. */
export type UrlRule = {
  /** Lifts the rule that every address must be public. */
  readonly allowPrivate: boolean
  /** Whether http is refused. */
  readonly httpsOnly?: boolean
  /** Hosts, `*.example.com` for all subdomains of one; undefined: any host. Does not lift the address rule. */
  readonly allowlist?: readonly string[] | undefined
  /** The proxy for connections to a URL, by which the other rules are not lifted; undefined: all are direct. */
  readonly proxyOf?: ((url: URL) => URL | undefined) | undefined
}

/** The error in a URL, without a DNS look-up; undefined if there is none. The text continues a field's name. */
export const checkUrl = (url: string, rule: UrlRule): string | undefined => checkUrlForm(url) ?? checkUrlHost(url, rule)

/**
 * The part of `checkUrl` that applies when this server itself connects. The URL parser normalizes every spelling of an
 * IPv4 address (decimal, octal, hex, short) to the dotted form. A URL that is malformed passes.
 */
export function checkUrlHost(url: string, { allowPrivate, allowlist, httpsOnly = false }: UrlRule): string | undefined {
  const host = hostOf(url)
  if (host === undefined) return undefined
  if (httpsOnly && !/^https:/i.test(url)) return 'must be an https URL'
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

/** The field errors of the URLs of a submit, by `checkUrlHost`. */
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
 * Scheme, credentials, host and the rest of a URL within a text. An apostrophe may be part of a URL (RFC 3986 2.2) or
 * the quote that ends it, depending on the next character.
 */
const URL_IN_TEXT =
  /\b([a-z][a-z\d+.-]{1,20}:\/\/)(?:[^\s/?#@'"<>\\]*@)?([^\s/?#'"<>\\]*)(?:[^\s'"<>\\]|'(?=[\w%/?&=#]))*/gi
/** Python's urllib3 prints host and path separately: `Max retries exceeded with url: /face.mp4?signature=...`. */
const PATH_IN_TEXT = /\b(with url: )\/(?:[^\s'"<>\\]|'(?=[\w%/?&=#]))*/gi

/** Reduces every URL in a text to its scheme and host: its path or its query may be a secret. Idempotent. */
export const reduceUrls = (text: string): string => text.replace(URL_IN_TEXT, '$1$2/…').replace(PATH_IN_TEXT, '$1/…')

/** Shorter paths are not secret, and occur within ordinary words. */
const PATH_MIN_LENGTH = 6

/** As `reduceUrls`; also removes the paths and queries of these URLs where they occur without their host. */
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
