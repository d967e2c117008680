import type { FastifyReply } from 'fastify'
import { type Caller, isAdmin } from '../../jobs/ports/access.ts'
import type { Job, JobStage } from '../../jobs/job.ts'
import type { JobProgress } from '../../jobs/progress.ts'
import { presentProgress } from '../../jobs/view.ts'
import type { Turns } from '../../lib/limits.ts'
import { createLru } from '../../lib/collections.ts'
import type { Renderer } from '../jobs/view.ts'
import { requestFieldsOf } from '../plugins/request-log.ts'

export type EventStreamOptions = {
  /** Turns for sending, shared by all streams. */
  readonly turns: Turns
  /** Renders the event of a job. */
  readonly render: (job: Job) => Promise<Buffer>
}

/** The event stream of one client. */
export type EventStream = {
  /** Sends the state of a job as soon as the client reads it. Replaces an earlier state of the job that is not sent yet. */
  push(job: Job): void
  /**
   * Sends the stage of a job, unless much is waiting: an event of its own, without an id, since it is no revision. Replaces
   * an earlier stage of the job that is not sent yet.
   */
  pushStage(job: Job, stage: JobStage): void
  /** Sends the progress of a job, likewise. */
  pushProgress(job: Job, progress: JobProgress): void
  /** Sends an event that is rendered already. Replaces an earlier one with this key that is not sent yet. */
  pushEvent(key: string, event: Buffer): void
  /** Ends the stream once everything that was pushed is sent; later pushes are ignored. */
  finish(): void
  /** Ends the stream at once if its client is not reading, otherwise like `finish`. */
  end(): void
  /** Calls back once either side has closed the stream. */
  whenClosed(callback: () => void): void
}

/** Interval of the heartbeat, in ms: shorter than the idle timeout of proxies. */
export const HEARTBEAT_MS = 15_000

/** Jobs whose states may wait for a slow client. */
export const MAX_WAITING = 10_000
/** With this many events waiting, hints are left out: one listing of the backend may change the stage of 100,000 jobs. */
const MAX_WAITING_HINTS = 1_000

/**
 * Starts a stream of events (HTML standard, section 9.2) as the answer to a request. Beyond `@fastify/sse`, it sends the
 * head at once, and drops a client that does not read: with `MAX_WAITING` states waiting, or when the client has read
 * nothing between two heartbeats.
 */
export function openEventStream(reply: FastifyReply, { turns, render }: EventStreamOptions): EventStream {
  const { raw, sse } = reply
  const waiting = new Map<string, Job | Buffer>()
  let isSending = false
  let isLast = false
  /** Closed by this server, not by its client. */
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
      const next = waiting.get(id)
      waiting.delete(id)
      const frame = next && (Buffer.isBuffer(next) ? next : await render(next))
      if (!frame || !sse.isConnected) return
      // Never settles if the client leaves first; then only the connection refers to it, and both are collected.
      if (!raw.write(frame)) await new Promise((resolve) => raw.once('drain', resolve))
      sent++
    }
    isSending = false
    if (isLast) close()
  }

  const send = () => {
    if (isSending) return
    sendWaiting().catch((error: unknown) => {
      reply.log.warn({ event: 'event_stream_failed', err: error }, 'sending an event failed; the stream is closed')
      cutOff()
    })
  }

  const beat = () => {
    if (!raw.writableNeedDrain) raw.write(': heartbeat\n\n')
    else if (sent === sentBefore) drop('the client reads nothing')
    sentBefore = sent
  }

  const add = (key: string, event: Job | Buffer) => {
    if (isLast || !sse.isConnected) return
    waiting.set(key, event)
    if (waiting.size > MAX_WAITING) drop('the client reads too slowly')
    else send()
  }

  const addHint = (name: 'stage' | 'progress', job: Job, value: unknown) => {
    if (waiting.size >= MAX_WAITING_HINTS) return
    const data = JSON.stringify({ job_id: job.id, [name]: value })
    add(`${name} ${job.id}`, Buffer.from(`event: ${name}\ndata: ${data}\n\n`))
  }

  const stream: EventStream = {
    push: (job) => add(job.id, job),
    pushStage: (job, stage) => addHint('stage', job, stage),
    pushProgress: (job, progress) => addHint('progress', job, presentProgress(progress)),
    pushEvent: add,
    finish() {
      isLast = true
      if (!isSending) close()
    },
    end() {
      if (raw.writableNeedDrain) cutOff()
      else stream.finish()
    },
    whenClosed(callback) {
      if (sse.isConnected) sse.onClose(callback)
      else callback()
    },
  }

  // From here on Fastify leaves the reply to the stream, and the plugin does not end it with the handler.
  reply.hijack()
  sse.keepAlive()
  // The connection closes with its stream: kept alive, it would delay a shutdown.
  reply.headers({ 'cache-control': 'no-store, no-transform', connection: 'close' })
  sse.sendHeaders()
  raw.flushHeaders()
  const heart = setInterval(beat, HEARTBEAT_MS).unref()
  stream.whenClosed(() => {
    clearInterval(heart)
    // A complete stream has the log line of its request.
    if (isClosedHere) return
    const fields = { event: 'event_stream_closed_by_client', ...requestFieldsOf(reply.request, reply) }
    reply.log.info(fields, 'client closed the event stream')
  })
  return stream
}

/** Renders the event of a job's state (HTML standard, section 9.2). */
export type RenderEvent = (job: Job, id: string, caller: Caller | undefined) => Promise<Buffer>

/** Size of the cache of rendered events, in bytes. */
const KEPT_BYTES = 4 * 1024 * 1024

type Kept = { readonly text: string; readonly frame: Buffer }

/** Makes the bytes of an event once for all streams that are sent the same text. */
export function createEventFrames(renderer: Pick<Renderer, 'render'>): RenderEvent {
  const kept = createLru<Kept>(KEPT_BYTES)

  return async (job, id, caller) => {
    const { text } = await renderer.render(job, caller)
    const key = `${job.id} ${id} ${caller !== undefined && isAdmin(caller)}`
    const known = kept.get(key)
    if (known?.text === text) return known.frame
    const frame = Buffer.from(`id: ${id}\nevent: status\ndata: ${text}\n\n`)
    kept.set(key, { text, frame }, frame.length)
    return frame
  }
}
