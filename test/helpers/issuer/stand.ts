import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { JWK } from 'jose'
import { onTestFinished } from 'vitest'
import { portOf } from '../control-plane/address.ts'
import { makeSigningKey } from './issuer.ts'

const DISCOVERY = '/.well-known/openid-configuration'

type Answer = (response: ServerResponse) => void

/** A server that publishes what an issuer does, counts requests, and can be made to answer badly. */
export type IssuerStand = {
  readonly url: string
  /** What is signed with; the stand publishes its public part. Put another in its place to rotate. */
  key: JWK
  /** In place of the document of the same name, until it is taken away. */
  failures: { discovery?: Answer | object; jwks?: Answer | object }
  /** Questions so far. */
  asked(): { discovery: number; jwks: number }
}

/** Ends with the test. */
export async function startStand({ path = '' } = {}): Promise<IssuerStand> {
  const asked = { discovery: 0, jwks: 0 }
  const server = createServer((request, response) => {
    const name = request.url === path + DISCOVERY ? 'discovery' : 'jwks'
    asked[name]++
    const answer = stand.failures[name] ?? documents()[name]
    if (typeof answer === 'function') (answer as Answer)(response)
    else response.end(JSON.stringify(answer))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
  })

  const origin = `http://127.0.0.1:${portOf(server)}`
  const stand: IssuerStand = {
    url: origin + path,
    key: await makeSigningKey('ES256'),
    failures: {},
    asked: () => ({ ...asked }),
  }
  const documents = () => ({
    discovery: { issuer: stand.url, jwks_uri: `${origin}/jwks` },
    jwks: { keys: [publicPart(stand.key)] },
  })
  return stand
}

/** What of a key everybody may know. */
export function publicPart({ kty, kid, alg, use, n, e, crv, x, y }: JWK): JWK {
  return JSON.parse(JSON.stringify({ kty, kid, alg, use, n, e, crv, x, y })) as JWK
}
