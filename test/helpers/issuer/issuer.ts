import { type ChildProcess, fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { exportJWK, generateKeyPair, type JWK } from 'jose'
import { freePort } from '../ports.ts'

export type IssuerOptions = {
  readonly port: number
  readonly keys: readonly JWK[]
  readonly clients: readonly string[]
}

/** A real OpenID provider (oidc-provider) in a process of its own. */
export type Issuer = {
  readonly url: string
  /** Its private keys; it signs with the first. */
  keys(): readonly JWK[]
  /** An access token from its token endpoint; `sub` is the client's name. */
  token(request: { client: string; audience: string; scope?: string }): Promise<string>
  /** Kills it. */
  stop(): Promise<void>
  /** Starts it where it was, with the keys it has. Does nothing while it runs. */
  start(): Promise<void>
  /** Starts it anew with a new key, and the old ones behind it if they are kept. */
  rotate(options?: { keepOld?: boolean }): Promise<void>
}

const PROCESS = fileURLToPath(new URL('process.ts', import.meta.url))

/** Starts a provider whose clients have these names; end it with `stop`. */
export async function startIssuer(...clients: string[]): Promise<Issuer> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  let keys = [await makeSigningKey()]
  let child: ChildProcess | undefined

  const stop = async () => {
    const stopping = child
    child = undefined
    if (stopping?.exitCode !== null) return
    stopping.kill('SIGKILL')
    await once(stopping, 'exit')
  }
  const start = async () => {
    if (child) return
    child = fork(PROCESS, [JSON.stringify({ port, keys, clients } satisfies IssuerOptions)], {
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    const complaints: string[] = []
    child.stderr?.on('data', (chunk: Buffer) => complaints.push(chunk.toString()))
    const ready = await Promise.race([once(child, 'message'), once(child, 'close').then(() => undefined)])
    if (!ready) throw new Error(`the provider did not start:\n${complaints.join('')}`)
  }
  await start()

  return {
    url,
    stop,
    start,
    keys: () => keys,
    async token({ client, audience, scope = 'jobs:read' }) {
      const response = await fetch(`${url}/token`, {
        method: 'POST',
        headers: { authorization: `Basic ${btoa(`${client}:secret`)}` },
        body: new URLSearchParams({ grant_type: 'client_credentials', resource: audience, scope }),
      })
      if (!response.ok) throw new Error(`the provider gave no token: ${await response.text()}`)
      return ((await response.json()) as { access_token: string }).access_token
    },
    async rotate({ keepOld = false } = {}) {
      await stop()
      keys = [await makeSigningKey(), ...(keepOld ? keys : [])]
      await start()
    },
  }
}

/** A private key for signatures, with a name of its own. */
export async function makeSigningKey(alg = 'RS256'): Promise<JWK> {
  const { privateKey } = await generateKeyPair(alg, { extractable: true })
  return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: randomUUID() }
}
