import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { BootError } from '../../src/problems.ts'
import { openRedisStore } from '../../src/store/redis/store.ts'
import { assertSupported } from '../../src/store/redis/boot.ts'
import { recordingLog } from '../helpers/log.ts'
import { describeWithRedisServer } from '../helpers/redis.ts'

describeWithRedisServer('opening a Redis store', (redis) => {
  let raw: Redis
  beforeAll(() => {
    raw = new Redis(redis().url)
  })
  afterAll(() => raw.disconnect())

  /** Changes a setting until the test is finished. */
  const set = async (name: string, value: string) => {
    const [, before = ''] = await raw.config('GET', name)
    onTestFinished(async () => {
      await raw.config('SET', name, before)
    })
    await raw.config('SET', name, value)
  }

  /** The URL of Redis with a user before the host and a database after the port. */
  const urlWith = (user: string, database = '') => redis().url.replace('//', `//${user}`) + database

  /** What a store logs when it opens, as `<level>: <message>`. */
  const logOfOpening = async (url = redis().url) => {
    const { log, lines } = await recordingLog()
    const store = await openRedisStore({ url, prefix: 'boot', log })
    await store.close()
    return lines.map(({ level, msg }) => `${level}: ${msg}`)
  }

  const refusal = async (url: string, bootTimeoutMs = 10_000) => {
    const { log } = await recordingLog()
    const error: unknown = await openRedisStore({ url, prefix: 'boot', log, bootTimeoutMs }).catch((e: unknown) => e)
    expect(error).toBeInstanceOf(BootError)
    return (error as BootError).message
  }

  test('the error names the host and what Redis refuses, never a password', async () => {
    await set('requirepass', 'secret')
    const at = `JOB_STORE: Redis at 127.0.0.1:${redis().port}: `
    expect(await refusal(redis().url)).toBe(`${at}it requires a password, and the URL has none`)
    expect(await refusal(urlWith(':wrong@'))).toBe(`${at}it does not accept the user and password of the URL`)
    expect(await refusal(urlWith('nobody:secret@'))).toMatch(/does not accept the user and password/)
    expect(await logOfOpening(urlWith(':secret@'))).toEqual([])
  })

  test('a database that does not exist is refused, and no other is used', async () => {
    expect(await refusal(urlWith('', '/99'))).toMatch(/no database of the number/)
    expect(await logOfOpening(urlWith('', '/3'))).toEqual([])
  })

  test('a replica is refused, and a release that is too old', async () => {
    onTestFinished(async () => {
      await raw.replicaof('NO', 'ONE')
    })
    await raw.replicaof('127.0.0.1', 1)
    expect(await refusal(redis().url)).toMatch(/replica.*name the primary/)
    const release = (version: string) => () => assertSupported(new Map([['redis_version', version]]))
    expect(release('6.0.16')).toThrow(/it is Redis 6.0.16; 6.2 or later is needed/)
    for (const version of ['6.2.0', '7.0.15', '8.2.1', '10.0.0']) expect(release(version)).not.toThrow()
    expect(() => assertSupported(new Map())).not.toThrow()
  })

  test('a Redis that does not answer is refused after the boot timeout', async () => {
    expect(await refusal('redis://127.0.0.1:1', 300)).toMatch(/at 127.0.0.1:1: .*ECONNREFUSED/)
    expect(await refusal('redis://nowhere.invalid', 300)).toMatch(/at nowhere.invalid:6379: .*nowhere.invalid/)
  })

  test('a Redis that is just starting is waited for', async () => {
    await redis().kill()
    const opening = logOfOpening()
    await redis().restart()
    expect((await opening).filter((line) => !/cannot reach Redis|Redis is available again/.test(line))).toEqual([])
  })

  test('a Redis that can lose jobs makes a warning, one that can lose a second an info line', async () => {
    expect(await logOfOpening()).toEqual([])
    await set('appendfsync', 'everysec')
    expect(await logOfOpening()).toEqual([
      expect.stringMatching(/^info: .*appendfsync everysec.* last second may be lost/),
    ])
    await set('appendonly', 'no')
    expect(await logOfOpening()).toEqual([expect.stringMatching(/^warn: Redis keeps nothing on disk/)])
    await set('save', '3600 1')
    expect(await logOfOpening()).toEqual([
      expect.stringMatching(/^warn: .*no append-only file.*since its last snapshot/),
    ])
    await set('maxmemory-policy', 'allkeys-lru')
    expect(await logOfOpening()).toHaveLength(2)
    expect(await logOfOpening()).toContainEqual(expect.stringMatching(/^warn: .*maxmemory-policy allkeys-lru/))
  })

  test('a user who may not read INFO makes no warning, and needs no more permissions than the store uses', async () => {
    await set('maxmemory-policy', 'allkeys-lru')
    onTestFinished(async () => {
      await raw.acl('DELUSER', 'app')
    })
    await raw.acl('SETUSER', 'app', 'on', '>pw', '~{boot}:*', '+@all', '-@admin', '-@dangerous')
    expect(await logOfOpening(urlWith('app:pw@'))).toEqual([])
    await raw.acl('SETUSER', 'app', '+info')
    expect(await logOfOpening(urlWith('app:pw@'))).toEqual([expect.stringMatching(/^warn: .*maxmemory-policy/)])
    await set('appendonly', 'no')
    expect(await logOfOpening(urlWith('app:pw@'))).toContainEqual(expect.stringMatching(/^warn: .*no append-only file/))
    await raw.acl('SETUSER', 'app', '-@scripting')
    expect(await refusal(urlWith('app:pw@'))).toMatch(/user of the URL lacks permissions/)
  })
})
