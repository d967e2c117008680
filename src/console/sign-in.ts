import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import { client, credential, messageOf, ProblemError } from './api.ts'
import { Failure } from './ui.ts'

export type SignInProps = { readonly refusal: string; readonly onSignedIn: () => void }

/** Asks for an API key or an access token, and whether the server accepts it. */
export function SignIn({ refusal, onSignedIn }: SignInProps): VNode {
  const [text, setText] = useState('')
  const [error, setError] = useState('')
  const [isBusy, setBusy] = useState(false)

  const signIn = async (event: Event) => {
    event.preventDefault()
    setBusy(true)
    credential.set(text.trim())
    try {
      await client.list({ limit: 1 })
      onSignedIn()
    } catch (reason) {
      // A key without the scope for this is a key all the same.
      if (reason instanceof ProblemError && reason.status === 403) onSignedIn()
      else setError(reason instanceof TypeError ? 'That is no key or token.' : messageOf(reason))
    }
    setBusy(false)
  }

  return html`<form class="card narrow" onSubmit=${signIn}>
    <h1>Sign in</h1>
    <label>
      API key or access token
      <input
        type="password"
        name="credential"
        autocomplete="off"
        spellcheck=${false}
        required
        value=${text}
        onInput=${(event: InputEvent) => setText((event.target as HTMLInputElement).value)}
      />
    </label>
    <p class="dim">It stays in this tab until you close it, and is sent to this server only.</p>
    <${Failure} error=${error || refusal} />
    <button class="primary" disabled=${isBusy}>Sign in</button>
  </form>`
}
