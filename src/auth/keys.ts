import { readFile } from 'node:fs/promises'
import { BootError } from '../problems.ts'
import type { Log } from '../jobs/log.ts'
import {
  digestOf,
  type PlacedEntry,
  parseEntryFile,
  parseEntryList,
  findDuplicateKeys,
  findShareConflicts,
  hasKeyForm,
} from '../config/formats.ts'
import type { Authenticator, Credential, Identity } from '../jobs/ports/access.ts'
import type { Share } from '../jobs/ports/queue.ts'
import { messageOf } from '../lib/errors.ts'

export type KeyringOptions = {
  /** The text of `API_KEYS`. */
  readonly entries?: string | undefined
  /** The path of `API_KEYS_FILE`. */
  readonly file?: string | undefined
  readonly log: Log
}

export type Keyring = Pick<Authenticator, 'close' | 'onReload'> & {
  /** Synchronous: needs no other service. */
  authenticate(credential: Credential): Identity | undefined
  /** The share of a caller; undefined if no entry sets it. */
  shareOf(caller: string): Share | undefined
  /**
   * Reads the file again and replaces the keys. Never rejects: if the file is invalid, logs an error and keeps the keys.
   */
  reload(): Promise<void>
}

/**
 * The API keys of the variable and the file together, stored as digests until they are used. Several keys of one name
 * are one caller, each with its own scopes. Rejects with a `BootError` that names every invalid entry and line.
 */
export async function createKeyring({ entries = '', file, log }: KeyringOptions): Promise<Keyring> {
  let { identities, shares } = await readKeys(entries, file)
  /**
   * Keys that have been used, with their identities: the digest is the most expensive part of authentication. Bounded by
   * the number of entries. The lookup takes no secret-dependent time: V8 compares only strings with equal hashes, and a
   * client cannot choose the hash, which is seeded for each process.
   */
  let verified = new Map<string, Identity>()
  let reloading = Promise.resolve()
  const listeners = new Set<() => void>()

  const logKeys = () => {
    const fields = { event: 'api_keys_loaded', keys: identities.size }
    if (identities.size === 0) log.warn(fields, 'loaded no API key; requests with one are answered 401')
    else log.info(fields, 'loaded the API keys')
  }
  const reloadFile = async () => {
    try {
      ;({ identities, shares } = await readKeys(entries, file))
      verified = new Map()
      logKeys()
      for (const listener of listeners) listener()
    } catch (error) {
      const reason = messageOf(error)
      const fields = { event: 'api_keys_not_reloaded', reason, keys: identities.size }
      log.error(fields, 'cannot reload the API keys; the previous ones stay valid')
    }
  }

  const lookUp = (text: string) => {
    const identity = identities.get(digestOf(text))
    if (identity) verified.set(text, identity)
    return identity
  }

  logKeys()
  return {
    shareOf: (caller) => shares.get(caller),
    authenticate: ({ text }) => verified.get(text) ?? lookUp(text),
    // One after the other: the last reload must win.
    reload: () => (reloading = reloading.then(reloadFile)),
    onReload: (listener) => void listeners.add(listener),
    close: () => reloading,
  }
}

/** By digest: a lookup takes no secret-dependent time, as a client cannot choose the digest of a key it does not know. */
async function readKeys(list: string, file: string | undefined): Promise<Keys> {
  const parsed = [parseEntryList(list), ...(file === undefined ? [] : [parseEntryFile(await readText(file))])]
  const entries = parsed.flatMap((part) => part.entries)
  const errors = [
    ...parsed.flatMap((part) => part.errors),
    ...findDuplicateKeys(entries),
    ...findShareConflicts(entries),
  ]
  if (errors.length > 0)
    throw new BootError(`The API keys are invalid:\n${errors.map((error) => `  ${error}`).join('\n')}`)
  return {
    identities: new Map(entries.map((entry) => [entry.digest, identityOf(entry)])),
    shares: new Map(entries.flatMap(({ name, share }) => (share ? [[idOf(name), share]] : []))),
  }
}

type Keys = {
  /** By digest. */
  readonly identities: ReadonlyMap<string, Identity>
  /** By caller. */
  readonly shares: ReadonlyMap<string, Share>
}

const idOf = (name: string) => `key:${name}`

const identityOf = ({ name, scopes }: PlacedEntry): Identity => ({ id: idOf(name), scopes })

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new BootError(`API_KEYS_FILE: cannot be read (${reason})`, { cause })
  }
}

export type JoinedOptions = {
  readonly keys?: Keyring | undefined
  /** Tokens are never reloaded: they expire. */
  readonly tokens?: Omit<Authenticator, 'onReload'> | undefined
}

/**
 * Combines keys and tokens. Every credential is looked up among the keys first, since an operator may have hashed a
 * secret of another format. A credential in the format of a key, or sent as a key, is never verified as a token.
 */
export function joinAuthenticators({ keys, tokens }: JoinedOptions): Authenticator {
  return {
    authenticate(credential) {
      const owner = keys?.authenticate(credential)
      if (owner || credential.kind === 'key' || hasKeyForm(credential.text)) return owner
      return tokens?.authenticate(credential)
    },
    onReload: (listener) => keys?.onReload(listener),
    async close() {
      await Promise.all([keys?.close(), tokens?.close()])
    },
  }
}
