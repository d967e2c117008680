import { hash, randomBytes } from 'node:crypto'
import { isIP } from 'node:net'
import { crc32 } from 'node:zlib'
import { parseArgsStringToArgv } from 'string-argv'
import { PARAMETER_NAMES, type ParameterName } from '../jobs/job.ts'
import { type Scope, SCOPES } from '../jobs/ports/access.ts'
import type { Share } from '../jobs/ports/queue.ts'
import { messageOf } from '../lib/errors.ts'

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

const PLACEHOLDERS = ['face', 'audio', 'output', 'version', ...PARAMETER_NAMES] as const
type Values = Readonly<Partial<Record<(typeof PLACEHOLDERS)[number], string>>>

/** A parsed template. */
export type CommandTemplate = {
  /** The parameters that it has a placeholder for. */
  readonly parameters: readonly ParameterName[]
  /** Its arguments with these values. An argument with a placeholder that has no value is left out. */
  fill(values: Values): string[]
}

/**
 * Splits a template into arguments, by quotes and spaces, without a shell. Placeholders are replaced afterwards, so a
 * value with spaces, quotes or braces stays one argument. Throws on an invalid template; the message continues the name
 * of the setting.
 */
export function parseCommand(template: string): CommandTemplate {
  const argv = parseArgsStringToArgv(template)
  if (!argv[0]) throw new Error('is empty')
  // An unclosed quote would swallow the appended word.
  if (parseArgsStringToArgv(`${template} end`).at(-1) !== 'end') throw new Error('a quote is not closed')
  const used = argv.flatMap(placeholdersIn)
  const unknown = used.find((name) => !isPlaceholder(name))
  if (unknown !== undefined) {
    const known = PLACEHOLDERS.map((name) => `{${name}}`).join(', ')
    throw new Error(`unknown placeholder {${unknown}}; use ${known}`)
  }
  if (!used.includes('output')) throw new Error('must contain {output}, the file to write')
  return {
    parameters: PARAMETER_NAMES.filter((name) => used.includes(name)),
    fill(values) {
      const valueOf = (name: string) => (isPlaceholder(name) ? values[name] : undefined)
      return argv
        .filter((argument) => placeholdersIn(argument).every((name) => valueOf(name) !== undefined))
        .map((argument) => argument.replace(PLACEHOLDER, (_whole, name: string) => valueOf(name) ?? ''))
    },
  }
}

const PLACEHOLDER = /\{(\w+)\}/g
const placeholdersIn = (argument: string) => [...argument.matchAll(PLACEHOLDER)].map(([, name = '']) => name)
const isPlaceholder = (name: string): name is keyof Values => PLACEHOLDERS.some((known) => known === name)

/** Every key starts with this, so that secret scanners and people recognize one. */
const KEY_PREFIX = 'mto_'
const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const SECRET_BYTES = 32
/** 256 bits, and the 32 bits of the checksum, in base 62. */
const SECRET_LENGTH = 43
const CHECKSUM_LENGTH = 6
const KEY = new RegExp(`${KEY_PREFIX}[0-9A-Za-z]{${SECRET_LENGTH + CHECKSUM_LENGTH}}`)
const KEY_LENGTH = KEY_PREFIX.length + SECRET_LENGTH + CHECKSUM_LENGTH

/**
 * What is stored of a key: its owner, its SHA-256 digest in lower-case hexadecimal, and its scopes. `share`: that of its
 * owner, if the entry sets one.
 */
export type KeyEntry = {
  readonly name: string
  readonly digest: string
  readonly scopes: ReadonlySet<Scope>
  readonly share?: Share
}

/** An entry and its place, as errors name it: `API_KEYS: entry 2`. */
export type PlacedEntry = KeyEntry & { readonly place: string }

/** The valid entries, and a sentence for each invalid one. No sentence shows an entry: it might be a key. */
export type ParsedEntries = { readonly entries: PlacedEntry[]; readonly errors: string[] }

/**
 * Makes a new key: the prefix, 256 random bits in base 62, and the CRC-32 of both in base 62. The format is that of
 * GitHub's tokens (https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/).
 */
export function makeKey(): string {
  const secret = inBase62(BigInt(`0x${randomBytes(SECRET_BYTES).toString('hex')}`), SECRET_LENGTH)
  return KEY_PREFIX + secret + checksumOf(KEY_PREFIX + secret)
}

/** Whether a text has the format of a key, checksum included; the key may still be unknown. */
export function hasKeyForm(text: string): boolean {
  if (text.length !== KEY_LENGTH || !KEY.test(text)) return false
  return checksumOf(text.slice(0, -CHECKSUM_LENGTH)) === text.slice(-CHECKSUM_LENGTH)
}

/** SHA-256 in lower-case hexadecimal. Enough for a random key; a password would need a slow hash. */
export const digestOf = (key: string): string => hash('sha256', key, 'hex')

/** Formats an entry of the configuration: `name:sha256:scopes`, the scopes joined by `+`, and the share if there is one. */
export const formatEntry = ({ name, digest, scopes, share }: KeyEntry): string =>
  `${name}:${digest}:${[...scopes].join('+')}${share ? ` ${formatShare(share)}` : ''}`

const formatShare = ({ weight, maxRunning }: Share) =>
  `weight=${weight}${maxRunning === undefined ? '' : ` max_running=${maxRunning}`}`

/** The largest number that each part of a share may be. */
const SHARE_PARTS = { weight: 100, max_running: 1_000_000 } as const

/** Parses a share, `weight=2 max_running=4`, in which either may be missing. Throws an error that continues its name. */
export function parseShare(text: string): Share {
  const numbers = new Map<string, number>()
  for (const part of text.trim().split(/\s+/)) {
    const [, name = '', digits = ''] = /^(\w+)=([1-9]\d{0,6})$/.exec(part) ?? []
    if (!isSharePart(name) || Number(digits) > SHARE_PARTS[name] || numbers.has(name)) throw new Error(SHARE_RULE)
    numbers.set(name, Number(digits))
  }
  const maxRunning = numbers.get('max_running')
  return { weight: numbers.get('weight') ?? 1, ...(maxRunning !== undefined && { maxRunning }) }
}

const isSharePart = (name: string): name is keyof typeof SHARE_PARTS => name in SHARE_PARTS
const SHARE_RULE = `must be weight=N (1 to ${SHARE_PARTS.weight}), max_running=N (1 to ${SHARE_PARTS.max_running}), or both with a space in between`

/** Parses `API_KEYS`, a comma-separated list. Errors name the entry by its number, from 1. */
export function parseEntryList(text: string): ParsedEntries {
  return parseAll(text.split(',').map((entry, index) => [`API_KEYS: entry ${index + 1}`, entry]))
}

/** Parses the text of `API_KEYS_FILE`: one entry per line, `#` starts a comment. Errors name the line, from 1. */
export function parseEntryFile(text: string): ParsedEntries {
  const lines = text.replace(/^\ufeff/, '').split('\n')
  return parseAll(lines.map((line, index) => [`API_KEYS_FILE: line ${index + 1}`, line.replace(/#.*/, '')]))
}

/** Gives a sentence for each key that appears twice with different names or scopes, which would be ambiguous. */
export function findDuplicateKeys(entries: readonly PlacedEntry[]): string[] {
  const first = new Map<string, PlacedEntry>()
  return entries.flatMap((entry) => {
    const known = first.get(entry.digest)
    if (!known) first.set(entry.digest, entry)
    if (!known || withoutShare(known) === withoutShare(entry)) return []
    const difference = known.name === entry.name ? 'with other scopes' : 'under another name'
    return [`${entry.place}: the same key as in ${known.place}, ${difference}`]
  })
}

const withoutShare = ({ name, digest, scopes }: KeyEntry) => formatEntry({ name, digest, scopes })

/** Gives a sentence for each entry whose share is not that of an earlier entry of the same name: they are one caller. */
export function findShareConflicts(entries: readonly PlacedEntry[]): string[] {
  const first = new Map<string, PlacedEntry & { readonly share: Share }>()
  return entries.flatMap(({ share, ...entry }) => {
    if (!share) return []
    const known = first.get(entry.name)
    if (!known) first.set(entry.name, { ...entry, share })
    if (!known || formatShare(known.share) === formatShare(share)) return []
    return [`${entry.place}: another share than in ${known.place}, which has the same name`]
  })
}

/** Gives the error in a key's name, or undefined; the text continues "the name". */
export const checkKeyName = (name: string): string | undefined =>
  /^[A-Za-z0-9_-]{1,64}$/.test(name) ? undefined : 'must be 1 to 64 letters, digits, - or _'

/** Gives the scopes of these names, in the order of `SCOPES`, or the error as a sentence. */
export function parseScopes(names: readonly string[]): ReadonlySet<Scope> | string {
  const unknownName = names.find((name) => !isScope(name))
  if (unknownName === undefined) return new Set(SCOPES.filter((scope) => names.includes(scope)))
  return `${JSON.stringify(shorten(unknownName))} is not a scope; there are ${SCOPES.join(', ')}`
}

/** Whether this is the name of a scope. */
export const isScope = (text: unknown): text is Scope => SCOPES.some((scope) => scope === text)

function parseAll(texts: [place: string, text: string][]): ParsedEntries {
  const parsed: { entries: PlacedEntry[]; errors: string[] } = { entries: [], errors: [] }
  for (const [place, text] of texts) {
    // A trailing comma, an empty line or a comment.
    if (text.trim() === '') continue
    const entry = parseEntry(text.trim())
    if (typeof entry === 'string') parsed.errors.push(`${place}: ${entry}`)
    else parsed.entries.push({ ...entry, place })
  }
  return parsed
}

function parseEntry(text: string): KeyEntry | string {
  const [, name = '', digest = '', names = '', shareText] = /^([^:]*):([^:]*):(\S*)(?:\s+(.*))?$/.exec(text) ?? []
  if (hasKeyForm(KEY.exec(text)?.[0] ?? ''))
    return 'contains the key itself; use the entry that `npm run keys` printed with it'
  if (!name && !digest) return 'must be name:sha256:scopes'
  const error = checkKeyName(name)
  if (error !== undefined) return `the name ${error}`
  if (digest.toLowerCase() === digestOf('')) return 'the second part is the digest of nothing: hash the key itself'
  if (!/^[0-9A-Fa-f]{64}$/.test(digest)) {
    return `the second part must be a SHA-256 digest of 64 hexadecimal digits, and has ${digest.length} characters`
  }
  const scopes = parseScopes(names.split('+'))
  // Does not show the text: a misplaced secret may stand there.
  if (typeof scopes === 'string') return `the third part must be some of ${SCOPES.join(', ')}, joined by +`
  try {
    return {
      name,
      digest: digest.toLowerCase(),
      scopes,
      ...(shareText !== undefined && { share: parseShare(shareText) }),
    }
  } catch (error) {
    return `the share ${messageOf(error)}`
  }
}

/** A misplaced digest is not shown in full. */
const shorten = (text: string): string => (text.length > 20 ? `${text.slice(0, 16)}…` : text)

const checksumOf = (text: string): string => inBase62(BigInt(crc32(text)), CHECKSUM_LENGTH)

function inBase62(value: bigint, length: number): string {
  let digits = ''
  for (let rest = value; rest > 0n; rest /= 62n) digits = (DIGITS[Number(rest % 62n)] ?? '') + digits
  return digits.padStart(length, '0')
}

/** `name=value` pairs, comma-separated, with percent-encoded values: the format of W3C Baggage that `OTEL_*` use. */
export function parsePairs(text = ''): Record<string, string> {
  const pairs = text.split(',').filter((part) => part.trim() !== '')
  return Object.fromEntries(
    pairs.map((part) => {
      const [, name = '', value = ''] = /^\s*([\w.-]+)\s*=\s*(.*?)\s*$/.exec(part) ?? []
      if (name === '') throw new Error('must be pairs of name=value, comma-separated')
      return [name, decodeURIComponent(value)]
    }),
  )
}
