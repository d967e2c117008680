import { type FastifyReply, type FastifyRequest, type HookHandlerDoneFunction, LogController } from 'fastify'
import { isJobId } from '../jobs/job.ts'

/** One line a request, when it is answered: what was asked, what was answered, in how many ms. */
export class RequestLog extends LogController {
  constructor() {
    super({ requestIdLogLabel: 'request_id' })
  }

  override incomingRequest(): void {
    // Said with the answer.
  }

  override requestCompleted(error: Error | null, request: FastifyRequest, reply: FastifyReply): void {
    const fields = { req: request, status: reply.statusCode, duration_ms: Math.round(reply.elapsedTime * 10) / 10 }
    if (error) reply.log.error({ ...fields, err: error }, 'request broken off')
    else reply.log.info(fields, 'request')
  }
}

/** An `onRequest` hook: the job id goes on every line of its requests. */
export function logJobId(request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void {
  const { id } = request.params as { id?: string }
  if (id !== undefined && isJobId(id)) reply.log = request.log = request.log.child({ job_id: id })
  done()
}
