import type { Job } from './schema.ts'

/** A state of a job, and what to send as `Last-Event-ID` to be told only of later ones. */
export type StatusEvent = { readonly id: string; readonly job: Job }

/** A stream that brings nothing for so long, in ms, is dead: the server shows every 15 s that it is there. */
const SILENCE_MS = 45_000

/** Reads a stream of events (HTML standard, section 9.2) to its end. Rejects where it is cut off or falls silent. */
export async function* readEvents(
  body: ReadableStream<Uint8Array>,
  silenceMs = SILENCE_MS,
): AsyncGenerator<StatusEvent> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let text = ''
  try {
    for (;;) {
      const { done, value } = await within(silenceMs, reader.read())
      if (done) return
      text += decoder.decode(value, { stream: true })
      const blocks = text.split(/\r?\n\r?\n/)
      text = blocks.pop() ?? ''
      for (const block of blocks) {
        const fields = fieldsOf(block)
        if (fields.event === 'status') yield { id: fields.id ?? '', job: JSON.parse(fields.data ?? '') as Job }
      }
    }
  } finally {
    // Whoever stops reading, or is told nothing any more, leaves the connection.
    await reader.cancel().catch(() => undefined)
  }
}

/** The fields of an event, each of which the server writes in one line. */
function fieldsOf(block: string): Partial<Record<string, string>> {
  return Object.fromEntries(block.split(/\r?\n/).map((line) => line.split(/: ?(.*)/s, 2)) as [string, string][])
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the stream was silent for ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
