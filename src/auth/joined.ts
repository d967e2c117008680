import { hasKeyForm } from '../config/key-format.ts'
import type { Keyring } from './keys.ts'
import type { Authenticator } from '../jobs/ports/authenticator.ts'

export type JoinedOptions = {
  readonly keys?: Keyring | undefined
  /** Tokens are never reloaded: they expire. */
  readonly tokens?: Omit<Authenticator, 'onReload'> | undefined
}

/**
 * Combines keys and tokens. Every credential is looked up among the keys first, since an operator may have hashed a
 * secret of another format. One with the format of a key, or sent as a key, is never tried as a token.
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
