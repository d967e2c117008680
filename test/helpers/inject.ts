import { text } from 'node:stream/consumers'
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'

/** Injects a request. Of a stream of events that has begun only the head comes, since it does not end. */
export async function injectHead(app: FastifyInstance, request: InjectOptions): Promise<LightMyRequestResponse> {
  const response = await app.inject({ ...request, payloadAsStream: true })
  if (response.headers['content-type'] === 'text/event-stream') return Object.assign(response, { body: '' })
  const body = await text(response.stream())
  return Object.assign(response, { body, json: () => JSON.parse(body) as never })
}
