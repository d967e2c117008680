import { createServer, connect as connectSocket, type AddressInfo, type Socket } from 'node:net'
import { once } from 'node:events'
import { expect, onTestFinished, test, vi } from 'vitest'
import { closeRedis, COMMAND_TIMEOUT_MS, connectRedis, runCommand } from '../../src/redis/connection.ts'
import { recordingLog } from '../helpers/log.ts'
import { describeWithRedisServer } from '../helpers/redis.ts'
import { until } from '../helpers/until.ts'

const unavailable = { code: 'store_unavailable', status: 503, retryAfterSeconds: 10 }

describeWithRedisServer('a connection for commands', (server) => {
  const connect = async (url = server().url) => {
    const { log, lines } = await recordingLog()
    const redis = connectRedis({ url, log, name: 'test' })
    onTestFinished(() => closeRedis(redis))
    return { redis, lines, ping: () => runCommand(redis, () => redis.ping()) }
  }

  test('makes any number of commands wait while it is opened', async () => {
    const warnings: Error[] = []
    const listen = (warning: Error) => warnings.push(warning)
    process.on('warning', listen)
    onTestFinished(() => void process.off('warning', listen))
    const { ping } = await connect()
    const answers = await Promise.all(Array.from({ length: 50 }, ping))
    expect(new Set(answers)).toEqual(new Set(['PONG']))
    expect(warnings).toEqual([])
  })

  test('sends the commands of one turn of the event loop in one write', async () => {
    const { redis, ping } = await connect()
    await ping()
    let writes = 0
    const { stream } = redis
    const { _writev: writev, _write: write } = stream
    stream._writev = (...parameters) => {
      writes++
      writev?.call(stream, ...parameters)
    }
    stream._write = (...parameters) => {
      writes++
      write.call(stream, ...parameters)
    }
    await Promise.all([ping(), ping(), ping()])
    expect(writes).toBe(1)
    await ping()
    expect(writes).toBe(2)
  })

  test('that is lost makes the first commands wait; in a longer outage they fail at once', async () => {
    const { ping, lines } = await connect()
    await ping()
    await server().kill()
    const at = performance.now()
    const refused = await Promise.allSettled(Array.from({ length: 20 }, ping))
    expect(performance.now() - at).toBeLessThan(COMMAND_TIMEOUT_MS + 250)
    for (const one of refused) expect(one).toMatchObject({ status: 'rejected', reason: unavailable })
    const later = performance.now()
    await expect(ping()).rejects.toMatchObject({ ...unavailable, isAmbiguousWrite: false })
    expect(performance.now() - later).toBeLessThan(50)
    await server().restart()
    await until(() => ping().catch(() => undefined))
    await server().kill()
    const waiting = ping()
    await server().restart()
    expect(await waiting).toBe('PONG')
    expect(lines.filter(({ level }) => level === 'warn')).toMatchObject([
      { connection: 'test', reason: expect.stringMatching(/ECONN|closed/) },
    ])
  })

  test('logs one line for all connections of the process when they are lost, and one when all are restored', async () => {
    const { log, lines } = await recordingLog()
    const connections = ['first', 'second', 'third'].map((name) => {
      const redis = connectRedis({ url: server().url, log, name })
      onTestFinished(() => closeRedis(redis))
      return redis
    })
    const logged = (event: string) => lines.filter((line) => line.event === event && line.level !== 'debug')
    const now = performance.now.bind(performance)
    const clock = vi.spyOn(performance, 'now')
    onTestFinished(() => clock.mockRestore())
    for (let outage = 1; outage <= 2; outage++) {
      // At most one line a minute.
      clock.mockImplementation(() => now() + outage * 61_000)
      await Promise.all(connections.map((redis) => runCommand(redis, () => redis.ping())))
      await server().kill()
      await until(() => logged('redis_unavailable').length === outage, 'the line of the outage')
      expect(logged('redis_available')).toHaveLength(outage - 1)
      await server().restart()
      await until(() => logged('redis_available').length === outage, 'the line of the return')
    }
    expect(logged('redis_unavailable')).toHaveLength(2)
    expect(logged('redis_available')[1]).toMatchObject({ level: 'info', unavailable_ms: expect.any(Number) })
  })

  test('that gets no reply counts as lost after a while and is opened again', async () => {
    const sockets: Socket[] = []
    const proxy = createServer((socket) => {
      const inner = connectSocket(server().port, '127.0.0.1')
      sockets.push(socket, inner)
      socket.on('error', () => undefined).pipe(inner)
      inner.on('error', () => undefined).pipe(socket)
    }).listen(0, '127.0.0.1')
    await once(proxy, 'listening')
    const { ping } = await connect(`redis://127.0.0.1:${(proxy.address() as AddressInfo).port}`)
    await ping()
    const swallowed = sockets.splice(0)
    for (const socket of swallowed) socket.unpipe()
    onTestFinished(() => {
      for (const socket of [...swallowed, ...sockets]) socket.destroy()
      proxy.close()
    })
    await expect(ping()).rejects.toMatchObject({ ...unavailable, isAmbiguousWrite: true })
    expect(await until(() => ping().catch(() => undefined))).toBe('PONG')
  })

  test('rejects with the error reply to a wrong command', async () => {
    const { redis } = await connect()
    await runCommand(redis, () => redis.set('text', 'x'))
    const mistake = runCommand(redis, () => redis.incr('text'))
    await expect(mistake).rejects.toMatchObject({
      name: 'ReplyError',
      message: expect.stringMatching(/not an integer/),
    })
  })

  test('rejects as unavailable when Redis has no memory for a command of a transaction', async () => {
    const { redis, ping } = await connect()
    await ping()
    await redis.config('SET', 'maxmemory', '1')
    const transaction = runCommand(redis, () => redis.multi().set('text', 'x').exec())
    await expect(transaction).rejects.toMatchObject({
      ...unavailable,
      cause: { message: expect.stringMatching(/^EXECABORT/) },
    })
    await redis.config('SET', 'maxmemory', '0')
  })

  test('that is closed, once or twice, still answers earlier commands and refuses later ones', async () => {
    const { redis, ping } = await connect()
    await ping()
    const [answer] = await Promise.all([ping(), closeRedis(redis)])
    expect(answer).toBe('PONG')
    await closeRedis(redis)
    await expect(ping()).rejects.toMatchObject({ ...unavailable, isAmbiguousWrite: false })
  })
})
