import { Type } from '@sinclair/typebox'
import { DEGRADED_REASONS } from '../../jobs/job.ts'
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
    reason: Type.Optional(
      OneOf(DEGRADED_REASONS, {
        description: [
          'Why the backend is degraded:',
          '- `spend_limit`: it starts nothing, as its spend limit is reached',
          '- `throttled`: it asks to be called less often',
          '- `unreachable`: it does not answer',
          '- `credentials`: it refuses the credentials of this server',
        ].join('\n'),
        examples: ['unreachable'],
      }),
    ),
  },
  { $id: 'Readiness', description: 'Whether this server should be given requests.' },
)
