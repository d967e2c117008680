import { hasKeyForm } from '../config/key-format.ts'
import type { Keyring } from './keys.ts'
import type { Authenticator } from '../jobs/ports/authenticator.ts'

export type JoinedOptions = {
  readonly keys?: Keyring | undefined
  /** Nobody takes a token back: it ends by itself. */
  readonly tokens?: Omit<Authenticator, 'onReload'> | undefined
}

/**
 * Keys and tokens as one. Every credential is looked up among the keys first, since an operator may have hashed a
 * secret of another form; what has a key's form, or came as a key, is never shown to the issuer's part.
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
