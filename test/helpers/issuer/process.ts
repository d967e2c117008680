import Provider from 'oidc-provider'
import type { IssuerOptions } from './issuer.ts'

// A real OpenID provider in a process of its own: `node process.ts '{"port":…,"keys":[…],"clients":[…]}'`, forked. It
// notifies its parent when it listens, and exits with it. Access tokens are JWTs for whatever resource is asked for.
const { port, keys, clients } = JSON.parse(process.argv[2] ?? '{}') as IssuerOptions

const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks: { keys },
  clients: clients.map((name) => ({
    client_id: name,
    client_secret: 'secret',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
  })),
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_context: unknown, resource: string) => ({
        scope: 'jobs:read jobs:write metrics:read admin',
        audience: resource,
        accessTokenTTL: 3600,
        accessTokenFormat: 'jwt',
      }),
    },
  },
})

provider.listen(port, '127.0.0.1', () => process.send?.('listening'))
// Listening for this also keeps the process alive while it has a parent.
process.once('disconnect', () => process.exit())
