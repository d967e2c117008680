import { isIP } from 'node:net'

/** Proxies whose forwarded headers are trusted: their addresses and networks, or the number of hops. */
export type TrustedProxies = readonly string[] | number

const MAX_HOPS = 32

const splitList = (text: string) => text.split(',').map((part) => part.trim())

/** Parses comma-separated origins such as `https://app.example.com`. Throws a message for the operator. */
export function parseOrigins(text: string): string[] {
  const origins = splitList(text)
  for (const origin of origins) {
    if (origin === '*') throw new Error('* would allow every page; list the origins, comma-separated')
    const url = /^https?:\/\//i.test(origin) && URL.canParse(origin) ? new URL(origin) : undefined
    if (!url) throw new Error(`${JSON.stringify(origin)} is not an origin such as https://app.example.com`)
    // Shows only the origin: the text may contain a password.
    if (url.origin !== origin) throw new Error(`an origin is only scheme, host and port: write ${url.origin}`)
  }
  return origins
}

/** Parses comma-separated addresses and networks (`10.0.0.0/8`), or a number of hops. Throws a message for the operator. */
export function parseTrustedProxies(text: string): TrustedProxies {
  if (/^\d+$/.test(text)) {
    const hops = Number(text)
    if (hops < 1 || hops > MAX_HOPS) throw new Error(`the number of hops must be 1 to ${MAX_HOPS}; unset it for none`)
    return hops
  }
  const proxies = splitList(text)
  for (const proxy of proxies) {
    if (!isNetwork(proxy)) {
      throw new Error(`${JSON.stringify(proxy)} is not an address, a network such as 10.0.0.0/8, or a number of hops`)
    }
  }
  return proxies
}

function isNetwork(text: string): boolean {
  const [, address = '', prefix] = /^([^/%]*)(?:\/(\d{1,3}))?$/.exec(text) ?? []
  const bits = { 0: 0, 4: 32, 6: 128 }[isIP(address)] ?? 0
  return bits > 0 && (prefix === undefined || (Number(prefix) >= 1 && Number(prefix) <= bits))
}

/**
 * Gives the error in the URL of an OpenID Connect issuer, or undefined; the text continues a name. OpenID Connect
 * Discovery 1.0, section 3: https, without query and fragment. http is allowed on loopback.
 */
export function checkIssuerUrl(text: string): string | undefined {
  const url = URL.parse(text)
  if (!url || !/^https?:\/\//i.test(text)) return 'must be an absolute https URL'
  if (url.username || url.password) return 'must not contain credentials'
  if (/[?#]/.test(text)) return 'must not have a query or a fragment'
  return isTrustworthyUrl(text) ? undefined : 'must be https, unless its host is this machine'
}

/** Whether no one on the network can change what this URL answers: https, or http to a loopback address. */
export function isTrustworthyUrl(text: string): boolean {
  const url = URL.parse(text)
  if (url?.protocol === 'https:') return true
  // The parser normalizes every spelling of an IPv4 address to the dotted form.
  return url?.protocol === 'http:' && /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname)
}
