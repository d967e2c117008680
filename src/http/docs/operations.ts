import { eventOperations } from '../events/reference.ts'
import { jobOperations } from '../jobs/reference.ts'
import { webhookOperations } from '../reference/webhooks.ts'
import type { Operations } from './operation.ts'

const healthOperations: Operations = {
  'GET /healthz': {
    ...{ operationId: 'getHealth', tag: 'health', summary: 'Is the process alive?' },
    description: 'Answers as long as the process does, also under load. Never limited.',
    answers: { 200: { description: 'It is.', examples: { ok: { summary: 'Alive', value: { status: 'ok' } } } } },
  },
  'GET /readyz': {
    ...{ operationId: 'getReadiness', tag: 'health', summary: 'Should it be given requests?' },
    description: 'Looked at in the background every two seconds. A backend that is away does not make it unready.',
    answers: {
      200: {
        description: 'Yes.',
        examples: {
          ready: { summary: 'Ready', value: { status: 'ready', store: 'ok', backend: 'ok' } },
          degraded: {
            summary: 'Ready, while jobs wait for the backend',
            value: { status: 'ready', store: 'ok', backend: 'degraded', reason: 'spend_limit' },
          },
        },
      },
      503: {
        description: 'No: the store does not answer, or the server is ending.',
        examples: {
          ending: { summary: 'About to end', value: { status: 'ending', store: 'ok', backend: 'ok' } },
          unavailable: {
            summary: 'The store is away',
            value: { status: 'unavailable', store: 'unavailable', backend: 'ok' },
          },
        },
      },
    },
  },
}

const metricsOperations: Operations = {
  'GET /metrics': {
    ...{ operationId: 'getMetrics', tag: 'health', summary: 'Read the metrics' },
    description:
      'For Prometheus to scrape, in its text format: what was counted since the process began, and how it is now. Never limited.',
    answers: { 200: { description: 'The metrics.' } },
  },
}

const docsOperations: Operations = {
  'GET /openapi.json': {
    ...{ operationId: 'getReference', tag: 'reference', summary: 'This document' },
    description: 'The reference of this server, as OpenAPI 3.1.',
    answers: { 200: { description: 'The document.' } },
  },
  'GET /docs': {
    ...{ operationId: 'readReference', tag: 'reference', summary: 'This document, to read' },
    description: 'A page that shows the reference and sends requests. It loads nothing from anywhere else.',
    answers: { 200: { description: 'The page.' } },
  },
}

/** What the reference says, route by route. A route that is not here fails the tests. */
export const OPERATIONS: Operations = {
  ...jobOperations,
  ...eventOperations,
  ...webhookOperations,
  ...healthOperations,
  ...metricsOperations,
  ...docsOperations,
}
