import { readFile } from 'node:fs/promises'
import { BootError } from '../problems.ts'
import type { Log } from '../jobs/log.ts'
import { digestOf, type PlacedEntry, parseEntryFile, parseEntryList, findDuplicateKeys } from '../config/key-format.ts'
import type { Authenticator, Credential, Identity } from '../jobs/ports/authenticator.ts'

export type KeyringOptions = {
  /** The text of `API_KEYS`. */
  readonly entries?: string | undefined
  /** The path of `API_KEYS_FILE`. */
  readonly file?: string | undefined
  readonly log: Log
}

export type Keyring = Pick<Authenticator, 'close' | 'onReload'> & {
  /** Never asks anybody else. */
  authenticate(credential: Credential): Identity | undefined
  /**
   * Reads the file again and takes its keys in place of those before. Never rejects: a file that cannot be used is an
   * error in the log, and the keys stay as they are.
   */
  reload(): Promise<void>
}

/**
 * API keys, known by their digests until they are used: the union of what the variable and the file hold. Several keys of
 * one name are one caller, each with its own scopes. Rejects with a `BootError` that names every faulty entry and line.
 */
export async function createKeyring({ entries = '', file, log }: KeyringOptions): Promise<Keyring> {
  let identities = await readKeys(entries, file)
  /**
   * Of the keys that have been used, whose they are: a digest costs more than all else that is done to let one in. No
   * more of them than there are entries. Looking up takes no secret-dependent time: V8 compares texts of one hash only,
   * and whoever does not know the key cannot choose that, since it is seeded anew in each process.
   */
  let known = new Map<string, Identity>()
  let reloading = Promise.resolve()
  const listeners = new Set<() => void>()

  const tell = () => {
    const facts = { keys: identities.size }
    if (identities.size === 0) log.warn(facts, 'there is no API key: nobody can come in with one')
    else log.info(facts, 'the API keys were read')
  }
  const readAgain = async () => {
    try {
      identities = await readKeys(entries, file)
      known = new Map()
      tell()
      for (const listener of listeners) listener()
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      log.error({ reason, keys: identities.size }, 'the API keys cannot be read again; those known before stay')
    }
  }

  const lookUp = (text: string) => {
    const identity = identities.get(digestOf(text))
    if (identity) known.set(text, identity)
    return identity
  }

  tell()
  return {
    authenticate: ({ text }) => known.get(text) ?? lookUp(text),
    // One behind the other: the last to be asked for must have the last word.
    reload: () => (reloading = reloading.then(readAgain)),
    onReload: (listener) => void listeners.add(listener),
    close: () => reloading,
  }
}

/** Looking up by digest takes no secret-dependent time: who does not know the key cannot choose where its digest begins. */
async function readKeys(list: string, file: string | undefined): Promise<ReadonlyMap<string, Identity>> {
  const parsed = [parseEntryList(list), ...(file === undefined ? [] : [parseEntryFile(await readText(file))])]
  const entries = parsed.flatMap((part) => part.entries)
  const errors = [...parsed.flatMap((part) => part.errors), ...findDuplicateKeys(entries)]
  if (errors.length > 0) throw new BootError(`The API keys are not usable:\n${errors.map((f) => `  ${f}`).join('\n')}`)
  return new Map(entries.map((entry) => [entry.digest, identityOf(entry)]))
}

const identityOf = ({ name, scopes }: PlacedEntry): Identity => ({ id: `key:${name}`, scopes })

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new BootError(`API_KEYS_FILE: cannot be read (${reason})`, { cause })
  }
}
