import type { FastifyInstance } from 'fastify'
import { problem } from '../problems.ts'
import type { Refusal } from './refusals.ts'

/**
 * From the moment on in which the server begins to end: whoever still comes, on a connection that was open already, is
 * refused, except on routes that are `alwaysAnswered`, and every answer says that its connection closes. One that was
 * kept would hold up the end, and a proxy would send its next request to a server that is about to be gone.
 */
export function endingRefusal(app: FastifyInstance): Refusal {
  let isEnding = false
  app.addHook('preClose', (done) => {
    isEnding = true
    done()
  })
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (isEnding) reply.header('connection', 'close')
    done()
  })
  return (request) => (isEnding && !request.routeOptions.config.alwaysAnswered ? problem('server_ending') : undefined)
}
