import { isIP } from 'node:net'

/** Proxies whose word on the caller's address is taken: their addresses and networks, or how many there are in a row. */
export type TrustedProxies = readonly string[] | number

const MAX_HOPS = 32

const partsOf = (text: string) => text.split(',').map((part) => part.trim())

/** Origins as browsers write them, comma-separated, such as `https://app.example.com`. Throws in words for an operator. */
export function parseOrigins(text: string): string[] {
  const origins = partsOf(text)
  for (const origin of origins) {
    if (origin === '*') throw new Error('* would let every page use the server; name the origins, comma-separated')
    const url = /^https?:\/\//i.test(origin) && URL.canParse(origin) ? new URL(origin) : undefined
    if (!url) throw new Error(`${JSON.stringify(origin)} is not an origin such as https://app.example.com`)
    // A password in it must not be shown.
    if (url.origin !== origin) throw new Error(`an origin is just scheme, host and port: write ${url.origin}`)
  }
  return origins
}

/** Addresses and networks (`10.0.0.0/8`), comma-separated, or a number of hops. Throws in words for an operator. */
export function parseTrustedProxies(text: string): TrustedProxies {
  if (/^\d+$/.test(text)) {
    const hops = Number(text)
    if (hops < 1 || hops > MAX_HOPS) throw new Error(`a number of hops is 1 to ${MAX_HOPS}; leave it unset for none`)
    return hops
  }
  const proxies = partsOf(text)
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
