import { once } from 'node:events'
import { Agent, get, type IncomingMessage } from 'node:http'
import { onTestFinished } from 'vitest'
import type { JobView } from '../../src/jobs/view.ts'

export type ReceivedEvent = { readonly id: string; readonly event: string; readonly job: JobView }

/** A stream of events as a client has it so far. */
export type EventClient = {
  readonly response: IncomingMessage
  readonly events: ReceivedEvent[]
  readonly comments: string[]
  /** What came of events named `stage` and `progress`, which have no id. */
  readonly stages: unknown[]
  readonly progresses: unknown[]
  /** Whether the stream has ended, and whether it was whole. */
  readonly closed: boolean
  readonly complete: boolean
}

/** How events without an id begin. */
const [STAGE, PROGRESS] = ['event: stage\ndata: ', 'event: progress\ndata: '] as const

/** Opens a stream over a socket of its own: an injected one does not notice that its client leaves. */
export async function openChanges(url: string, headers: Record<string, string> = {}): Promise<EventClient> {
  // Like a browser, it would keep the connection.
  const agent = new Agent({ keepAlive: true })
  onTestFinished(() => agent.destroy())
  const request = get(url, { agent, headers: { accept: 'text/event-stream', ...headers } })
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  const client = {
    response,
    events: [] as ReceivedEvent[],
    comments: [] as string[],
    stages: [] as unknown[],
    progresses: [] as unknown[],
    closed: false,
    complete: false,
  }
  let text = ''
  response.setEncoding('utf8').on('data', (chunk: string) => {
    const blocks = (text + chunk).split('\n\n')
    text = blocks.pop() ?? ''
    for (const block of blocks) {
      if (block.startsWith(':')) client.comments.push(block)
      else if (block.startsWith(STAGE)) client.stages.push(JSON.parse(block.slice(STAGE.length)))
      else if (block.startsWith(PROGRESS)) client.progresses.push(JSON.parse(block.slice(PROGRESS.length)))
      else client.events.push(eventOf(block))
    }
  })
  response.on('error', () => undefined)
  response.on('close', () => Object.assign(client, { closed: true, complete: response.complete }))
  return client
}

function eventOf(block: string): ReceivedEvent {
  const fields = Object.fromEntries(block.split('\n').map((line) => line.split(/: (.*)/s)))
  const { id, event, data, ...others } = fields as Record<string, string>
  if (id === undefined || event === undefined || data === undefined || Object.keys(others).length > 0) {
    throw new Error(`not an event with id, event and data: ${block}`)
  }
  return { id, event, job: JSON.parse(data) as JobView }
}
