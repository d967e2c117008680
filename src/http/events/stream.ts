import type { FastifyReply } from 'fastify'
import { isAdmin } from '../../jobs/ports/access.ts'
import type { Job } from '../../jobs/job.ts'
import type { Turns } from '../../lib/limits.ts'
import { createLru } from '../../lib/collections.ts'
import { JobReply } from '../jobs/job-schema.ts'
import type { Presenter } from '../jobs/view.ts'
import { requestFieldsOf } from '../plugins/request-log.ts'

export type EventStreamParts = {
  /** Turns in which something is sent, shared by all streams. */
  readonly turns: Turns
  /** The event of a job, as its bytes. */
  readonly render: (job: Job) => Promise<Buffer>
}

/** Events on their way to one client. */
export type EventStream = {
  /** Sends how a job is as soon as the client takes it, in place of an earlier state of it that has not been sent. */
  push(job: Job): void
  /** Ends the stream once everything that was pushed is sent; nothing more is taken. */
  finish(): void
  /** Ends the stream now where its client does not take what is sent, else like `finish`. */
  end(): void
  /** Calls back once the stream is over, on either side. */
  whenOver(callback: () => void): void
}

/** How often a stream shows that it is alive, in ms: less than proxies wait before they cut a silent one. */
export const HEARTBEAT_MS = 15_000

/** Jobs whose states may wait for a client that reads slower than they change. */
export const MAX_WAITING = 10_000

/**
 * Begins a stream of events (HTML standard, section 9.2) as the answer to a request. What `@fastify/sse` leaves open
 * is done here: the head is sent at once, and a client that does not take what it is sent is dropped: with
 * `MAX_WAITING` states waiting, or when it has taken nothing between two heartbeats.
 */
export function openEventStream(reply: FastifyReply, { turns, render }: EventStreamParts): EventStream {
  const { raw, sse } = reply
  const waiting = new Map<string, Job>()
  let isSending = false
  let isLast = false
  /** By this server, and not by its client. */
  let isClosedHere = false
  let sent = 0
  let sentBefore = 0

  const cutOff = () => {
    // The connection is closed a little later.
    isLast = true
    isClosedHere = true
    raw.destroy()
  }

  const close = () => {
    isClosedHere = true
    sse.close()
  }

  const drop = (reason: string) => {
    const fields = { event: 'event_stream_dropped', ...requestFieldsOf(reply.request, reply), waiting: waiting.size }
    reply.log.info(fields, `event stream dropped: ${reason}`)
    cutOff()
  }

  const sendWaiting = async () => {
    isSending = true
    for (const id of waiting.keys()) {
      await turns.next()
      const job = waiting.get(id)
      waiting.delete(id)
      const frame = job && (await render(job))
      if (!frame || !sse.isConnected) return
      // Settles never where the client leaves before it has taken this. Nobody but the connection holds it then.
      if (!raw.write(frame)) await new Promise((resolve) => raw.once('drain', resolve))
      sent++
    }
    isSending = false
    if (isLast) close()
  }

  const send = () => {
    if (isSending) return
    sendWaiting().catch((error: unknown) => {
      reply.log.warn({ err: error }, 'an event cannot be sent')
      cutOff()
    })
  }

  const beat = () => {
    if (!raw.writableNeedDrain) raw.write(': heartbeat\n\n')
    else if (sent === sentBefore) drop('the client takes no events')
    sentBefore = sent
  }

  const stream: EventStream = {
    push(job) {
      if (isLast || !sse.isConnected) return
      waiting.set(job.id, job)
      if (waiting.size > MAX_WAITING) drop('the client takes events too slowly')
      else send()
    },
    finish() {
      isLast = true
      if (!isSending) close()
    },
    end() {
      if (raw.writableNeedDrain) cutOff()
      else stream.finish()
    },
    whenOver(callback) {
      if (sse.isConnected) sse.onClose(callback)
      else callback()
    },
  }

  // Fastify leaves the reply to the stream from here on, and the plugin does not end it with the handler.
  reply.hijack()
  sse.keepAlive()
  // The connection ends with its stream: kept open, it would hold up the end of the server.
  reply.headers({ 'cache-control': 'no-store, no-transform', connection: 'close' })
  sse.sendHeaders()
  raw.flushHeaders()
  const heart = setInterval(beat, HEARTBEAT_MS).unref()
  stream.whenOver(() => {
    clearInterval(heart)
    // A stream that is sent to its end has the line of its request.
    if (isClosedHere) return
    const fields = { event: 'event_stream_closed_by_client', ...requestFieldsOf(reply.request, reply) }
    reply.log.info(fields, 'client closed the event stream')
  })
  return stream
}

/** Renders the event of a state of a job for a stream, as its bytes (HTML standard, section 9.2). */
export type RenderEvent = (job: Job, id: string, reply: FastifyReply) => Promise<Buffer>

/** How long an event serves further streams, in ms: the place of its job in the queue and its link are of a moment. */
const FRESH_MS = 1_000
/** Events that are kept meanwhile, in bytes. */
const KEPT_BYTES = 4 * 1024 * 1024

type Kept = { readonly frame: Promise<Buffer>; readonly at: number }

/** Makes what renders events: once for all streams that see the same of a job. */
export function createEventFrames(present: Presenter): RenderEvent {
  const kept = createLru<Kept>(KEPT_BYTES)

  const render: RenderEvent = async (job, id, reply) => {
    // Through the schema, like the answer of GET.
    const data = reply.serializeInput(await present(job, reply.request), JobReply)
    return Buffer.from(`id: ${id}\nevent: status\ndata: ${data}\n\n`)
  }

  return (job, id, reply) => {
    const { caller } = reply.request
    const key = `${job.id} ${job.revision} ${id} ${caller !== undefined && isAdmin(caller)}`
    const known = kept.get(key)
    if (known && performance.now() - known.at < FRESH_MS) return known.frame
    const rendered = { frame: render(job, id, reply), at: performance.now() }
    kept.set(key, rendered, 0)
    rendered.frame.then(
      ({ length }) => kept.set(key, rendered, length),
      () => kept.delete(key),
    )
    return rendered.frame
  }
}
