import { Type } from '@sinclair/typebox'
import { OneOf } from './parts.ts'

/** Answer of `GET /healthz`. */
export const HealthReply = Type.Object(
  { status: OneOf(['ok'], { description: 'The process answers.', examples: ['ok'] }) },
  { $id: 'Health', description: 'The process answers.' },
)

/** Answer of `GET /readyz`. */
export const ReadyReply = Type.Object(
  {
    status: OneOf(['ready', 'unavailable', 'ending'], {
      description: '`unavailable` while the store does not answer, `ending` once the server has been told to end.',
      examples: ['ready'],
    }),
    store: OneOf(['ok', 'unavailable'], { description: 'Whether the store of jobs answers.', examples: ['ok'] }),
    backend: OneOf(['ok', 'degraded'], {
      description: 'Whether the backend can be reached. Jobs are taken and kept either way.',
      examples: ['ok'],
    }),
  },
  { $id: 'Readiness', description: 'Whether this server should be given requests.' },
)
