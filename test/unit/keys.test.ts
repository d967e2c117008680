import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { open, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { anyText } from '../helpers/any-text.ts'
import { joinAuthenticators, createKeyring } from '../../src/auth/keys.ts'
import {
  digestOf,
  formatEntry,
  hasKeyForm,
  makeKey,
  parseEntryFile,
  parseEntryList,
  findDuplicateKeys,
  findShareConflicts,
} from '../../src/config/formats.ts'
import { type Credential, type Scope, SCOPES } from '../../src/jobs/ports/access.ts'
import { BootError } from '../../src/problems.ts'
import { recordingLog, silentLog } from '../helpers/log.ts'

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
const entryOf = (name: string, key: string, scopes = 'jobs:read+jobs:write') => `${name}:${sha256(key)}:${scopes}`
const asKey = (text: string): Credential => ({ kind: 'key', text })
const asBearer = (text: string): Credential => ({ kind: 'bearer', text })

function keyFile(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'keys-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, 'keys'), text)
  return join(folder, 'keys')
}

describe('a key', () => {
  test('has a prefix, 256 random bits and a checksum', () => {
    const keys = Array.from({ length: 200 }, makeKey)
    expect(new Set(keys).size).toBe(200)
    for (const key of keys) {
      expect(key).toMatch(/^mto_[0-9A-Za-z]{49}$/)
      expect(hasKeyForm(key)).toBe(true)
    }
    // Every digit of the secret is random: none of its 43 positions is always the same.
    for (let at = 4; at < 47; at++) expect(new Set(keys.map((key) => key[at])).size).toBeGreaterThan(5)
  })

  test('with one character changed, added or removed fails its checksum', () => {
    const key = makeKey()
    fc.assert(
      fc.property(fc.nat({ max: key.length - 1 }), fc.constantFrom('0', '9', 'A', 'Z', 'a', 'z', '-'), (at, other) => {
        fc.pre(key[at] !== other)
        expect(hasKeyForm(key.slice(0, at) + other + key.slice(at + 1))).toBe(false)
      }),
    )
    for (const text of ['', 'mto_', key.slice(1), key.slice(0, -1), `${key}0`, ` ${key}`, `${key}\n`]) {
      expect(hasKeyForm(text)).toBe(false)
    }
  })

  test('has a SHA-256 digest in hexadecimal', () => {
    expect(digestOf('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
  })
})

describe('key entries', () => {
  test('are split at the first two colons, since scopes contain one', () => {
    const { entries, errors } = parseEntryList(entryOf('alice', 'a', 'jobs:read+metrics:read+admin'))
    expect(errors).toEqual([])
    expect(entries[0]).toMatchObject({ name: 'alice', digest: sha256('a') })
    expect([...entries[0]!.scopes]).toEqual(['jobs:read', 'metrics:read', 'admin'])
  })

  test('of any name, digest and scopes are parsed as they were formatted', () => {
    const names = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/)
    fc.assert(
      fc.property(
        names,
        fc.string({ minLength: 1 }),
        fc.subarray<Scope>([...SCOPES], { minLength: 1 }),
        (name, key, scopes) => {
          const entry = { name, digest: sha256(key), scopes: new Set(scopes) }
          expect(parseEntryList(formatEntry(entry)).entries).toEqual([{ ...entry, place: 'API_KEYS: entry 1' }])
        },
      ),
    )
  })

  test('in a file stand one per line, with comments, empty lines and any line ends', () => {
    const text = `\ufeff# keys\r\n\r\n${entryOf('alice', 'a')}\r\n  ${entryOf('bob', 'b')} # of the night shift\n`
    const { entries, errors } = parseEntryFile(text)
    expect(errors).toEqual([])
    expect(entries.map(({ name, place }) => [name, place])).toEqual([
      ['alice', 'API_KEYS_FILE: line 3'],
      ['bob', 'API_KEYS_FILE: line 4'],
    ])
  })

  test('may have spaces, a trailing comma and an upper-case digest', () => {
    const text = ` alice:${sha256('a').toUpperCase()}:admin , ${entryOf('bob', 'b')},`
    const { entries, errors } = parseEntryList(text)
    expect(errors).toEqual([])
    expect(entries.map(({ digest }) => digest)).toEqual([sha256('a'), sha256('b')])
  })

  test.each([
    ['alice', 'must be name:sha256:scopes'],
    [`alice:${sha256('a')}`, 'must be name:sha256:scopes'],
    [`:${sha256('a')}:admin`, 'the name must be 1 to 64'],
    [`al ice:${sha256('a')}:admin`, 'the name must be 1 to 64'],
    [`${'a'.repeat(65)}:${sha256('a')}:admin`, 'the name must be 1 to 64'],
    ['alice:hunter2:admin', 'has 7 characters'],
    [`alice:${sha256('a')}0:admin`, 'has 65 characters'],
    [`alice:${sha256('')}:jobs:read`, 'the digest of nothing'],
    [`alice:${sha256('a')}:`, 'the third part must be some of jobs:read'],
    [
      `alice:${sha256('a')}:jobs:raed`,
      'the third part must be some of jobs:read, jobs:write, metrics:read, admin, joined by +',
    ],
    [`alice:${sha256('a')}:admin+`, 'the third part must be some of jobs:read'],
    [`alice:${makeKey()}:admin`, 'contains the key itself'],
    [makeKey(), 'contains the key itself'],
    [`${sha256('a')}:alice:admin`, 'has 5 characters'],
    [`alice:${sha256('a')}:${sha256('a')}`, 'the third part must be'],
  ])('that are invalid are named by number and never shown: %s', (entry, words) => {
    const { entries, errors } = parseEntryList(`${entryOf('bob', 'b')},${entry}`)
    expect(entries.map(({ name }) => name)).toEqual(['bob'])
    expect(errors).toEqual([expect.stringMatching(/^API_KEYS: entry 2: /)])
    expect(errors[0]).toContain(words)
    expect(errors[0]).not.toContain('hunter2')
    expect(errors[0]).not.toMatch(/mto_|[0-9a-f]{20}/)
  })

  test('of the same key are refused if their names or scopes differ', () => {
    const repeats = (...entries: string[]) => findDuplicateKeys(parseEntryList(entries.join(',')).entries)
    expect(repeats(entryOf('alice', 'a'), entryOf('alice', 'a'), entryOf('alice', 'b', 'admin'))).toEqual([])
    expect(repeats(entryOf('alice', 'a'), entryOf('bob', 'a'))).toEqual([
      'API_KEYS: entry 2: the same key as in API_KEYS: entry 1, under another name',
    ])
    expect(repeats(entryOf('alice', 'a'), entryOf('alice', 'a', 'admin')).join()).toContain('with other scopes')
  })

  test.each([
    ['weight=4', { weight: 4 }],
    ['max_running=2', { weight: 1, maxRunning: 2 }],
    ['  weight=100   max_running=1000000', { weight: 100, maxRunning: 1_000_000 }],
    ['max_running=2 weight=1', { weight: 1, maxRunning: 2 }],
  ])('may set the share of their caller after the scopes: %s', (text, share) => {
    const { entries, errors } = parseEntryList(`${entryOf('alice', 'a')} ${text},${entryOf('bob', 'b')}`)
    expect(errors).toEqual([])
    expect(entries.map((entry) => entry.share)).toEqual([share, undefined])
    expect(parseEntryList(formatEntry(entries[0]!)).entries).toEqual([entries[0]])
  })

  test.each([
    'weight=0',
    'weight=101',
    'weight=1.5',
    'weight',
    'wieght=2',
    'weight=1 weight=2',
    'max_running=0',
    'hunter2',
  ])('with an invalid share are refused and not shown: %s', (text) => {
    const { entries, errors } = parseEntryList(`${entryOf('alice', 'a')} ${text}`)
    expect(entries).toEqual([])
    expect(errors).toEqual([expect.stringMatching(/^API_KEYS: entry 1: the share must be weight=N \(1 to 100\)/)])
    expect(errors.join()).not.toContain('hunter2')
  })

  test('of one name are refused if their shares differ, and may leave the share to another', () => {
    const conflicts = (...texts: string[]) =>
      findShareConflicts(parseEntryList(texts.map((text, n) => `${entryOf('alice', `${n}`)} ${text}`).join()).entries)
    expect(conflicts('weight=2 max_running=3', '', 'max_running=3 weight=2')).toEqual([])
    expect(conflicts('weight=2', '', 'weight=3')).toEqual([
      'API_KEYS: entry 3: another share than in API_KEYS: entry 1, which has the same name',
    ])
  })

  test('that are garbage give errors and do not throw', () => {
    fc.assert(fc.property(anyText(), (text) => void parseEntryFile(text)))
  })
})

describe('the keyring', () => {
  test('gives the owner and the scopes of a known key, and nothing for any other', async () => {
    const key = makeKey()
    const keyring = await createKeyring({ entries: entryOf('alice', key, 'jobs:read'), log: silentLog() })
    const alice = { id: 'key:alice', scopes: new Set(['jobs:read']) }
    expect(keyring.authenticate(asKey(key))).toEqual(alice)
    expect(keyring.authenticate(asBearer(key))).toEqual(alice)
    for (const text of ['', makeKey(), sha256(key), 'alice', `${key} `]) {
      expect(keyring.authenticate(asKey(text))).toBeUndefined()
    }
  })

  test('accepts several keys of one name, each with its own scopes', async () => {
    const entries = [entryOf('alice', 'old'), entryOf('alice', 'new', 'admin')].join(',')
    const keyring = await createKeyring({ entries, log: silentLog() })
    expect(keyring.authenticate(asKey('old'))).toMatchObject({ id: 'key:alice' })
    expect(keyring.authenticate(asKey('new'))).toEqual({ id: 'key:alice', scopes: new Set(['admin']) })
  })

  test('joins the variable and the file', async () => {
    const file = keyFile(entryOf('bob', 'b'))
    const { log, lines } = await recordingLog()
    const keyring = await createKeyring({ entries: entryOf('alice', 'a'), file, log })
    expect(keyring.authenticate(asKey('a'))).toMatchObject({ id: 'key:alice' })
    expect(keyring.authenticate(asKey('b'))).toMatchObject({ id: 'key:bob' })
    expect(lines).toMatchObject([{ level: 'info', keys: 2 }])
  })

  test('is not created with invalid entries, and names all of them', async () => {
    const file = keyFile(`# one\nbob\n${entryOf('carol', 'a')}\n`)
    const starting = createKeyring({ entries: `${entryOf('alice', 'a')},dave:x:admin`, file, log: silentLog() })
    const error = await starting.catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(BootError)
    const { message } = error as BootError
    expect(message).toContain('API_KEYS: entry 2')
    expect(message).toContain('API_KEYS_FILE: line 2')
    expect(message).toContain('API_KEYS_FILE: line 3: the same key as in API_KEYS: entry 1, under another name')
  })

  test('gives the share of a caller, and its new one after a reload', async () => {
    const file = keyFile(`${entryOf('bob', 'b')} max_running=2`)
    const keyring = await createKeyring({ entries: `${entryOf('alice', 'a')} weight=3`, file, log: silentLog() })
    const shares = () => ['key:alice', 'key:bob', 'key:carol'].map((caller) => keyring.shareOf(caller))
    expect(shares()).toEqual([{ weight: 3 }, { weight: 1, maxRunning: 2 }, undefined])
    writeFileSync(file, `${entryOf('bob', 'b')} weight=2`)
    await keyring.reload()
    expect(shares()).toEqual([{ weight: 3 }, { weight: 2 }, undefined])
  })

  test('is not created without its file', async () => {
    const starting = createKeyring({ file: '/nonexistent/keys', log: silentLog() })
    await expect(starting).rejects.toThrow(/^API_KEYS_FILE: cannot be read \(ENOENT.*\/nonexistent\/keys/)
    await expect(starting).rejects.toBeInstanceOf(BootError)
  })

  test('reloads its file: new keys are accepted, removed ones refused', async () => {
    const file = keyFile(entryOf('bob', 'b'))
    const { log, lines } = await recordingLog()
    const keyring = await createKeyring({ entries: entryOf('alice', 'a'), file, log })
    writeFileSync(file, `${entryOf('carol', 'c')}\n${entryOf('dave', 'd')}`)
    expect(keyring.authenticate(asKey('c'))).toBeUndefined()
    // A used key is cached: after the reload it must be refused too.
    expect(keyring.authenticate(asKey('b'))).toMatchObject({ id: 'key:bob' })
    expect(keyring.authenticate(asKey('b'))).toMatchObject({ id: 'key:bob' })
    await keyring.reload()
    expect(keyring.authenticate(asKey('b'))).toBeUndefined()
    expect(keyring.authenticate(asKey('c'))).toMatchObject({ id: 'key:carol' })
    expect(keyring.authenticate(asKey('a'))).toMatchObject({ id: 'key:alice' })
    expect(lines.at(-1)).toMatchObject({ level: 'info', keys: 3 })
  })

  test.each(['missing', 'invalid'])('keeps its keys and logs an error if the file is %s', async (way) => {
    const file = keyFile(entryOf('bob', 'b'))
    const { log, lines, text } = await recordingLog()
    const keyring = await createKeyring({ file, log })
    if (way === 'missing') rmSync(file)
    else writeFileSync(file, `${entryOf('carol', 'c')}\ndave:hunter2:admin`)
    await keyring.reload()
    expect(keyring.authenticate(asKey('b'))).toMatchObject({ id: 'key:bob' })
    expect(keyring.authenticate(asKey('c'))).toBeUndefined()
    expect(lines.at(-1)).toMatchObject({ level: 'error', keys: 1 })
    expect(lines.at(-1)?.reason).toContain(way === 'missing' ? 'ENOENT' : 'line 2')
    expect(text()).not.toContain('hunter2')
    writeFileSync(file, entryOf('carol', 'c'))
    await keyring.reload()
    expect(keyring.authenticate(asKey('c'))).toMatchObject({ id: 'key:carol' })
  })

  test('accepts no key and logs a warning if the file becomes empty', async () => {
    const file = keyFile(entryOf('bob', 'b'))
    const { log, lines } = await recordingLog()
    const keyring = await createKeyring({ file, log })
    writeFileSync(file, '# nobody\n')
    await keyring.reload()
    expect(keyring.authenticate(asKey('b'))).toBeUndefined()
    expect(lines.at(-1)).toMatchObject({ level: 'warn', keys: 0 })
  })

  test('has the keys of the last reload, even if an earlier one reads the file more slowly', async () => {
    const file = keyFile(entryOf('bob', 'b'))
    const keyring = await createKeyring({ file, log: silentLog() })
    rmSync(file)
    execFileSync('mkfifo', [file])
    const first = keyring.reload()
    // Resolves once the reader has opened the file.
    const slow = await open(file, 'w')
    rmSync(file)
    writeFileSync(file, entryOf('dave', 'd'))
    const second = keyring.reload()
    // Long enough for the second reload to overtake the first, if that were possible.
    for (let n = 0; n < 3; n++) await readFile(file)
    await slow.writeFile(entryOf('carol', 'c'))
    await slow.close()
    await Promise.all([first, second])
    expect(keyring.authenticate(asKey('c'))).toBeUndefined()
    expect(keyring.authenticate(asKey('d'))).toMatchObject({ id: 'key:dave' })
  })
})

describe('keys and tokens together', () => {
  const tokenOwner = { id: 'oidc:https://issuer|carol', scopes: new Set<Scope>(['jobs:read']) }
  const own = makeKey()

  async function start({ entries = [entryOf('carol', own), entryOf('dave', 'his own secret')] } = {}) {
    const asked: string[] = []
    let closed = 0
    const keys = await createKeyring({ entries: entries.join(','), log: silentLog() })
    const tokens = {
      authenticate: async ({ text }: Credential) => {
        asked.push(text)
        return text === 'token' ? tokenOwner : undefined
      },
      close: async () => {
        closed++
      },
    }
    return { ...{ asked, keys, tokens }, joined: joinAuthenticators({ keys, tokens }), closed: () => closed }
  }

  test("carol's key and carol's token are two callers", async () => {
    const { joined } = await start()
    expect((await joined.authenticate(asBearer(own)))?.id).toBe('key:carol')
    expect((await joined.authenticate(asBearer('token')))?.id).toBe('oidc:https://issuer|carol')
  })

  test('a credential that looks like a key, or was sent as one, is never sent to the issuer', async () => {
    const { asked, joined } = await start()
    expect(await joined.authenticate(asBearer(makeKey()))).toBeUndefined()
    expect(await joined.authenticate(asKey('token'))).toBeUndefined()
    expect(asked).toEqual([])
  })

  test("a key of the operator's own format is looked up before tokens", async () => {
    const { asked, joined } = await start()
    expect((await joined.authenticate(asBearer('his own secret')))?.id).toBe('key:dave')
    expect(asked).toEqual([])
    expect(await joined.authenticate(asBearer('something else'))).toBeUndefined()
    expect(asked).toEqual(['something else'])
  })

  test('either authenticator may be missing', async () => {
    const { keys, tokens } = await start()
    const onlyTokens = joinAuthenticators({ tokens })
    expect(await onlyTokens.authenticate(asBearer('token'))).toBe(tokenOwner)
    expect(await onlyTokens.authenticate(asKey('token'))).toBeUndefined()
    const onlyKeys = joinAuthenticators({ keys })
    expect(await onlyKeys.authenticate(asBearer('token'))).toBeUndefined()
    expect((await onlyKeys.authenticate(asKey(own)))?.id).toBe('key:carol')
  })

  test('both authenticators are closed', async () => {
    const { joined, closed } = await start()
    await joined.close()
    expect(closed()).toBe(1)
  })
})
