import ipaddr from 'ipaddr.js'

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
