import { html, render } from 'htm/preact'
import type { ComponentType, VNode } from 'preact'
import { useEffect, useLayoutEffect, useState } from 'preact/hooks'
import { credential, getJson, urlOf, whenSignedOut } from './api.ts'
import { JobPage } from './job.ts'
import { JobsPage } from './jobs.ts'
import { NewJobPage } from './new-job.ts'
import { OverviewPage } from './overview.ts'
import { SignIn } from './sign-in.ts'
import { Messages } from './ui.ts'

/** What the server says of itself. */
export type ServerInfo = {
  readonly version: string
  readonly authentication: 'none' | 'required'
  readonly links: { readonly docs?: string }
}

/** Views by the first part of the address after `#/`; the rest is theirs. */
const VIEWS: Readonly<
  Record<string, { title: string; page: ComponentType<{ rest: string; query: URLSearchParams }> }>
> = {
  new: { title: 'New job', page: NewJobPage },
  jobs: { title: 'Jobs', page: JobsPage },
  job: { title: 'Job', page: JobPage },
  overview: { title: 'Overview', page: OverviewPage },
}

/** The address as `#/view/rest?query`. */
function readAddress() {
  const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?')
  const [view = '', ...rest] = path.split('/')
  return { view: view in VIEWS ? view : 'new', rest: rest.join('/'), query: new URLSearchParams(query) }
}

function App({ server }: { server: ServerInfo }): VNode {
  const [address, setAddress] = useState(readAddress)
  const needsKey = server.authentication === 'required'
  const [isSignedIn, setSignedIn] = useState(!needsKey || credential.get() !== '')
  const [refusal, setRefusal] = useState('')

  // Not after the first paint: until then the address may change, and a request may be refused.
  useLayoutEffect(() => {
    const onAddress = () => {
      setAddress(readAddress())
      document.querySelector('main')?.focus({ preventScroll: true })
      scrollTo(0, 0)
    }
    addEventListener('hashchange', onAddress)
    whenSignedOut(() => {
      if (credential.get() !== '') setRefusal('The server does not accept this key or token, or no longer.')
      credential.clear()
      setSignedIn(false)
    })
    return () => removeEventListener('hashchange', onAddress)
  }, [])

  const { title, page: Page } = VIEWS[address.view] ?? { title: '', page: NewJobPage }
  useEffect(() => {
    document.title = `${isSignedIn ? title : 'Sign in'} · MuseTalk Orchestrator`
  }, [title, isSignedIn])

  const signOut = () => {
    credential.clear()
    setRefusal('')
    setSignedIn(false)
  }
  const link = (view: string) => {
    const isHere = address.view === view || (view === 'jobs' && address.view === 'job')
    return html`<a href="#/${view}" aria-current=${isHere ? 'page' : undefined}>${VIEWS[view]?.title}</a>`
  }
  return html`
    <header class="bar">
      <span class="brand">MuseTalk <span class="wide">Orchestrator</span></span>
      ${isSignedIn && html`<nav aria-label="Views">${['new', 'jobs', 'overview'].map(link)}</nav>`}
      <span class="end">
        ${server.links.docs !== undefined && html`<a href=${urlOf('docs')}>API</a>`}
        ${needsKey && isSignedIn && html`<button class="small" onClick=${signOut}>Sign out</button>`}
      </span>
    </header>
    <main tabindex="-1">
      ${
        isSignedIn
          ? html`<${Page} key=${`${address.view}/${address.rest}`} rest=${address.rest} query=${address.query} />`
          : html`<${SignIn} refusal=${refusal} onSignedIn=${() => setSignedIn(true)} />`
      }
    </main>
    <footer>MuseTalk Orchestrator ${server.version}</footer>
    <${Messages} />
  `
}

const root = document.querySelector('#app')
if (root instanceof HTMLElement) {
  const start = async () => {
    try {
      const server = await getJson<ServerInfo>('/')
      root.replaceChildren()
      render(html`<${App} server=${server} />`, root)
    } catch {
      root.textContent = 'The server cannot be reached. Trying again…'
      setTimeout(() => void start(), 2_000)
    }
  }
  void start()
}
