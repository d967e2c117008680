import { EventEmitter } from 'node:events'
import type { Redis } from 'ioredis'
import {
  COMMAND_TIMEOUT_MS,
  connectBlocking,
  connectRedis,
  type RedisSettings,
  runBatch,
  whenReady,
} from './connection.ts'
import { callSubscriber } from '../jobs/log.ts'
import { createBatch } from '../lib/concurrency.ts'
import { resolvesWithin } from '../lib/timing.ts'

/**
 * `jobs`: jobs as just written. `drops`: entries that were dequeued while another replica runs them. `pauses`: whether the
 * start of jobs is paused.
 */
const TOPICS = ['jobs', 'drops', 'pauses'] as const
export type Topic = (typeof TOPICS)[number]

/** Pub/sub between the replicas that share a Redis and a prefix. A replica also receives its own messages. */
export type Channels = {
  /** Resolves once Redis has the message. Rejects with `store_unavailable` if it may be lost. */
  publish(topic: Topic, message: string): Promise<void>
  /** Subscribes from now on, until the returned function is called. What a subscriber throws is logged. */
  subscribe(topic: Topic, listener: (message: string) => void): () => void
  /** Calls `listener` when messages may have been lost and arrive again, until the returned function is called. */
  onGap(listener: () => void): () => void
  /** Idempotent. */
  close(): Promise<void>
}

type ChannelsOptions = Omit<RedisSettings, 'name'> & { readonly prefix: string }

/** Messages published by one script: more would block Redis for too long. */
const MAX_MESSAGES = 100

/**
 * Publishes messages by one script for all of a turn of the event loop: sending a command costs this process several times
 * as much as another argument of one.
 */
function createSender(redis: Redis): (message: readonly [channel: string, text: string]) => Promise<unknown> {
  redis.defineCommand('publishAll', {
    numberOfKeys: 0,
    lua: "for n = 1, #ARGV, 2 do redis.call('PUBLISH', ARGV[n], ARGV[n + 1]) end",
  })
  const { publishAll } = redis as unknown as { publishAll(...args: string[]): Promise<unknown> }
  return createBatch(async (messages) => {
    await runBatch(redis, () => publishAll.apply(redis, messages.flat()))
    return []
  }, MAX_MESSAGES)
}

/** A replica announces here that it could not publish for a while: the others cannot notice that. */
const GAPS = 'gaps'

/**
 * Opens the channels of a prefix. Waits for the subscription, but no longer than `COMMAND_TIMEOUT_MS`: if Redis is
 * available only later, that counts as a gap.
 */
export async function openChannels({ prefix, ...settings }: ChannelsOptions): Promise<Channels> {
  const { log } = settings
  const listener = connectBlocking({ ...settings, name: 'listener' })
  const sender = connectRedis({ ...settings, name: 'sender' })
  const publish = createSender(sender)
  const received = new EventEmitter().setMaxListeners(0)
  // Unlike keys, channels do not belong to a database.
  const root = `{${prefix}}:${listener.options.db ?? 0}:`
  const subscribed = Promise.withResolvers<true>()
  let [isOpen, generation, hasLostMessages] = [false, 0, false]

  /** If the connection is lost meanwhile, the next call reports the gap. */
  const subscribeAll = async () => {
    const current = ++generation
    await listener.subscribe(...[...TOPICS, GAPS].map((topic) => root + topic))
    if (current !== generation) return
    subscribed.resolve(true)
    if (isOpen) received.emit(GAPS)
  }

  const send = async (topic: string, message: string) => {
    try {
      await publish([root + topic, message])
    } catch (error) {
      hasLostMessages = true
      throw error
    }
    if (hasLostMessages) void announceGap()
  }

  const announceGap = async () => {
    if (!hasLostMessages) return
    hasLostMessages = false
    await send(GAPS, '').catch(logFailure)
  }

  const on = (event: string, call: (message: string) => void) => {
    const safe = (message: string) => callSubscriber(log, {}, () => call(message))
    received.on(event, safe)
    return () => void received.off(event, safe)
  }

  const logFailure = (error: unknown) =>
    log.debug({ event: 'channels_unavailable', err: error }, 'messages may have been lost; the gap is announced later')
  listener.on('ready', () => void subscribeAll().catch(logFailure))
  listener.on('message', (channel: string, message: string) => received.emit(channel.slice(root.length), message))
  sender.on('ready', () => void announceGap())
  await Promise.all([resolvesWithin(subscribed.promise, COMMAND_TIMEOUT_MS), whenReady(sender)])
  isOpen = true

  return {
    publish: send,
    subscribe: on,
    onGap: (listener) => on(GAPS, () => listener()),
    close() {
      received.removeAllListeners()
      listener.disconnect()
      sender.disconnect()
      return Promise.resolve()
    },
  }
}
