import { EventEmitter } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  COMMAND_TIMEOUT_MS,
  connectPatiently,
  connectRedis,
  type RedisSettings,
  unlessAway,
  whenReady,
} from './connection.ts'

/** What is talked of between replicas: jobs as just written, and runs that are to end. */
const TOPICS = ['jobs', 'drops'] as const
export type Topic = (typeof TOPICS)[number]

/** Messages between the replicas that share a Redis and a prefix: each hears all, its own ones too. Nothing is kept. */
export type Channels = {
  /** Resolves once Redis has the message. Rejects with `store_unavailable`: perhaps nobody hears it. */
  publish(topic: Topic, message: string): Promise<void>
  /** Hears what is published from now on, until the returned function is called. What a listener throws is logged. */
  listen(topic: Topic, listener: (message: string) => void): () => void
  /** Calls `listener` whenever messages may have been lost, and come again. Until the returned function is called. */
  onGap(listener: () => void): () => void
  /** Idempotent. */
  close(): Promise<void>
}

export type ChannelsOptions = Omit<RedisSettings, 'name'> & { readonly prefix: string }

/** What the others cannot know by themselves: that one of them could not be heard for a while. */
const GAPS = 'gaps'

/**
 * Opens the channels of a prefix and waits until they are heard, no longer than a command may take: of a Redis that
 * comes later it is told as of one that comes again.
 */
export async function openChannels({ prefix, ...settings }: ChannelsOptions): Promise<Channels> {
  const { log } = settings
  const listener = connectPatiently({ ...settings, name: 'listener' })
  const sender = connectRedis({ ...settings, name: 'sender' })
  const heard = new EventEmitter().setMaxListeners(0)
  // Unlike keys, channels are not of one database.
  const root = `{${prefix}}:${listener.options.db ?? 0}:`
  const first = Promise.withResolvers<true>()
  let [isOpen, sessions, isUnheard] = [false, 0, false]

  /** A connection that is lost while it subscribes leaves the telling to the next. */
  const subscribe = async () => {
    const session = ++sessions
    await listener.subscribe(...[...TOPICS, GAPS].map((topic) => root + topic))
    if (session !== sessions) return
    first.resolve(true)
    if (isOpen) heard.emit(GAPS)
  }

  const send = async (topic: string, message: string) => {
    try {
      await unlessAway(sender, () => sender.publish(root + topic, message))
    } catch (error) {
      isUnheard = true
      throw error
    }
    if (isUnheard) void confess()
  }

  const confess = async () => {
    if (!isUnheard) return
    isUnheard = false
    await send(GAPS, '').catch(stay)
  }

  const on = (event: string, call: (message: string) => void) => {
    const safe = (message: string) => {
      try {
        call(message)
      } catch (error) {
        log.error({ err: error }, 'a listener failed')
      }
    }
    heard.on(event, safe)
    return () => void heard.off(event, safe)
  }

  const stay = (error: unknown) => log.debug({ err: error }, 'what was lost on the channels is told later')
  listener.on('ready', () => void subscribe().catch(stay))
  listener.on('message', (channel: string, message: string) => heard.emit(channel.slice(root.length), message))
  sender.on('ready', () => void confess())
  const patience = sleep(COMMAND_TIMEOUT_MS, undefined, { ref: false })
  await Promise.all([Promise.race([first.promise, patience]), whenReady(sender)])
  isOpen = true

  return {
    publish: send,
    listen: on,
    onGap: (told) => on(GAPS, () => told()),
    close() {
      heard.removeAllListeners()
      listener.disconnect()
      sender.disconnect()
      return Promise.resolve()
    },
  }
}
