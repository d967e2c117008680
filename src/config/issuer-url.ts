/**
 * What is wrong with the URL of an OpenID Connect issuer; undefined: nothing. Reads on from a name. OpenID Connect
 * Discovery 1.0, section 3: https, without query and fragment; http is taken where it does not leave the machine.
 */
export function issuerUrlFault(text: string): string | undefined {
  const url = URL.parse(text)
  if (!url || !/^https?:\/\//i.test(text)) return 'must be an absolute https URL'
  if (url.username || url.password) return 'must not contain credentials'
  if (/[?#]/.test(text)) return 'must not have a query or a fragment'
  return isTrustworthyUrl(text) ? undefined : 'must be https, unless its host is this machine'
}

/** Whether nobody on the way can change what this URL answers: https, or http to a loopback address or `localhost`. */
export function isTrustworthyUrl(text: string): boolean {
  const url = URL.parse(text)
  if (url?.protocol === 'https:') return true
  // The parser has brought every spelling of an IPv4 address into its dotted form.
  return url?.protocol === 'http:' && /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname)
}
