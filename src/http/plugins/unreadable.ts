import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { Problem } from '../../problems.ts'
import type { RecordMetric } from '../../jobs/ports/metrics.ts'
import { failBody } from './body-timeout.ts'
import { SAFE_HEADERS } from './browsers.ts'
import { abandonInput, closeAfterAnswers, isAnswered, pendingAnswer } from './lingering-close.ts'
import { countUnreadable } from '../metrics.ts'
import { documentOf, PROBLEM_TYPE, unreadableError } from './problems.ts'
import type { AddressLimit } from './rate-limits.ts'

/** Node's code for a client that closes its side in the middle of a request. */
const CUT_OFF = 'HPE_INVALID_EOF_STATE'

export type UnreadableParts = { readonly recordMetric: RecordMetric; readonly countAddress: AddressLimit }

/**
 * Answers what Node cannot read as a request (its `clientError`), once for each connection, and closes that. Such
 * requests are counted, and limited by address, like those that can be read.
 */
export function answerUnreadable(app: FastifyInstance, { recordMetric, countAddress }: UnreadableParts): void {
  // In place of Fastify's own, which destroys the connection.
  app.server.removeAllListeners('clientError')
  app.server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    if (error.code === 'ECONNRESET' || socket.destroyed || abandonInput(socket)) return
    const [pending, unreadable] = [pendingAnswer(socket), unreadableError(error.code)]
    if (pending && (pending.headersSent || error.code !== CUT_OFF)) {
      // What is wrong is the body of a request that has been let in, or what comes behind it.
      failBody(pending.req, unreadable)
      closeAfterAnswers(socket)
    } else if (isAnswered(socket)) socket.destroySoon()
    // A request that is cut off before its answer is counted by itself, and a connection that brought nothing is none.
    else if (pending || socket.bytesRead === 0) answerOn(socket, unreadable)
    else void refuse(socket, unreadable)
  })

  const refuse = async (socket: Socket, error: Problem) => {
    const answered: Problem = (await countAddress(socket.remoteAddress)) ?? error
    countUnreadable(recordMetric, { method: '' }, answered.status)
    answerOn(socket, answered)
  }
}

/** Writes a whole answer straight on the connection, and closes that. */
function answerOn(socket: Socket, error: Problem): void {
  const { status, retryAfterSeconds } = error
  const body = JSON.stringify(documentOf(error))
  const headers = {
    ...{ 'content-type': PROBLEM_TYPE, 'content-length': Buffer.byteLength(body) },
    ...SAFE_HEADERS,
    ...(retryAfterSeconds && { 'retry-after': retryAfterSeconds }),
    connection: 'close',
  }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  if (socket.writable) socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${body}`)
  socket.destroySoon()
}
