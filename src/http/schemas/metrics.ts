import { Type } from '@sinclair/typebox'

/** Answer of `GET /metrics`. */
export const MetricsReply = Type.Unsafe<string>({
  content: {
    'text/plain': {
      schema: {
        type: 'string',
        description: 'Metrics in the text format of Prometheus.',
        examples: [
          [
            '# HELP musetalk_jobs_submitted_total New jobs accepted.',
            '# TYPE musetalk_jobs_submitted_total counter',
            'musetalk_jobs_submitted_total 3',
            '',
          ].join('\n'),
        ],
      },
    },
  },
})
