import { hash, randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { type Scope, SCOPES } from '../jobs/ports/access.ts'

/** Every key starts with this, so that secret scanners and people recognize one. */
const KEY_PREFIX = 'mto_'
const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const SECRET_BYTES = 32
/** 256 bits, and the 32 bits of the checksum, in base 62. */
const SECRET_LENGTH = 43
const CHECKSUM_LENGTH = 6
const KEY = new RegExp(`${KEY_PREFIX}[0-9A-Za-z]{${SECRET_LENGTH + CHECKSUM_LENGTH}}`)
const KEY_LENGTH = KEY_PREFIX.length + SECRET_LENGTH + CHECKSUM_LENGTH

/** What is stored of a key: its owner, its SHA-256 digest in lower-case hexadecimal, and its scopes. */
export type KeyEntry = { readonly name: string; readonly digest: string; readonly scopes: ReadonlySet<Scope> }

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

/** Formats an entry of the configuration: `name:sha256:scopes`, the scopes joined by `+`. */
export const formatEntry = ({ name, digest, scopes }: KeyEntry): string => `${name}:${digest}:${[...scopes].join('+')}`

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
    if (!known || formatEntry(known) === formatEntry(entry)) return []
    const difference = known.name === entry.name ? 'with other scopes' : 'under another name'
    return [`${entry.place}: the same key as in ${known.place}, ${difference}`]
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
  const [, name = '', digest = '', names = ''] = /^([^:]*):([^:]*):(.*)$/.exec(text) ?? []
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
  return { name, digest: digest.toLowerCase(), scopes }
}

/** A misplaced digest is not shown in full. */
const shorten = (text: string): string => (text.length > 20 ? `${text.slice(0, 16)}…` : text)

const checksumOf = (text: string): string => inBase62(BigInt(crc32(text)), CHECKSUM_LENGTH)

function inBase62(value: bigint, length: number): string {
  let digits = ''
  for (let rest = value; rest > 0n; rest /= 62n) digits = (DIGITS[Number(rest % 62n)] ?? '') + digits
  return digits.padStart(length, '0')
}
