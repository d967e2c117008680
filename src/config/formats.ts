import { isIP } from 'node:net'
import { parseArgsStringToArgv } from 'string-argv'

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

const MIN_BYTES = 24
const MAX_BYTES = 64
const PREFIX = 'whsec_'

/**
 * Parses `WEBHOOK_SECRET`: secrets separated by commas, the newest first, each in the format of the Standard Webhooks
 * specification, `whsec_` and the base64 of 24 to 64 bytes. Throws a message for the operator that shows none of them.
 */
export function parseWebhookSecrets(text: string): string[] {
  const secrets = text.split(',').map((secret) => secret.trim())
  secrets.forEach((secret, index) => {
    const error = checkSecret(secret)
    if (error) throw new Error(`${secrets.length > 1 ? `secret ${index + 1} of ${secrets.length} ` : ''}${error}`)
  })
  return secrets
}

/** Decodes a secret in this format. */
export const bytesOfSecret = (secret: string): Buffer => Buffer.from(secret.slice(PREFIX.length), 'base64')

/** Encodes bytes as a secret in this format. */
export const secretOf = (bytes: Uint8Array): string => `${PREFIX}${Buffer.from(bytes).toString('base64')}`

function checkSecret(secret: string): string | undefined {
  const how = `make one with: echo ${PREFIX}$(openssl rand -base64 32)`
  if (!secret.startsWith(PREFIX)) return `must begin with ${PREFIX}; ${how}`
  const bytes = bytesOfSecret(secret)
  // Node's decoder skips characters that are not base64.
  if (secretOf(bytes) !== secret) return `must be base64 with its padding after ${PREFIX}; ${how}`
  if (bytes.length < MIN_BYTES || bytes.length > MAX_BYTES) {
    return `must have ${MIN_BYTES} to ${MAX_BYTES} bytes, but has ${bytes.length}; ${how}`
  }
  return undefined
}

const PLACEHOLDERS = ['face', 'audio', 'output', 'version'] as const
type Values = Readonly<Record<string, string>>

/**
 * Splits a template into arguments, by quotes and spaces, without a shell. Placeholders are replaced afterwards, so a
 * value with spaces, quotes or braces stays one argument. Throws on an invalid template; the message continues the name
 * of the setting.
 */
export function parseCommand(template: string): (values: Values) => string[] {
  const argv = parseArgsStringToArgv(template)
  if (!argv[0]) throw new Error('is empty')
  // An unclosed quote would swallow the appended word.
  if (parseArgsStringToArgv(`${template} end`).at(-1) !== 'end') throw new Error('a quote is not closed')
  const used = argv.flatMap((argument) => [...argument.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name))
  const unknown = used.find((name) => !PLACEHOLDERS.some((known) => known === name))
  if (unknown !== undefined) {
    const known = PLACEHOLDERS.map((name) => `{${name}}`).join(', ')
    throw new Error(`unknown placeholder {${unknown}}; use ${known}`)
  }
  if (!used.includes('output')) throw new Error('must contain {output}, the file to write')
  return (values) =>
    argv.map((argument) => argument.replace(/\{(\w+)\}/g, (_whole, name: string) => values[name] ?? ''))
}
