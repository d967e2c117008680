import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { BootError } from '../../src/problems.ts'
import { openRedisStore } from '../../src/store/redis/store.ts'
import { refuseUnfit } from '../../src/store/redis/boot.ts'
import { recordingLog } from '../helpers/log.ts'
import { describeWithRedisServer } from '../helpers/redis.ts'

describeWithRedisServer('opening a Redis store', (redis) => {
  let raw: Redis
  beforeAll(() => {
    raw = new Redis(redis().url)
  })
  afterAll(() => raw.disconnect())

  /** For the test that asks for it, and as it was after it. */
  const set = async (name: string, value: string) => {
    const [, before = ''] = await raw.config('GET', name)
    onTestFinished(async () => {
      await raw.config('SET', name, before)
    })
    await raw.config('SET', name, value)
  }

  /** The url with what stands before the host, and behind the port. */
  const urlWith = (user: string, database = '') => redis().url.replace('//', `//${user}`) + database

  /** What the log is told by a store that opens, at these levels. */
  const told = async (url = redis().url) => {
    const { log, lines } = await recordingLog()
    const store = await openRedisStore({ url, prefix: 'boot', log })
    await store.close()
    return lines.map(({ level, msg }) => `${level}: ${msg}`)
  }

  const refusal = async (url: string, patienceMs = 10_000) => {
    const { log } = await recordingLog()
    const error: unknown = await openRedisStore({ url, prefix: 'boot', log, patienceMs }).catch((e: unknown) => e)
    expect(error).toBeInstanceOf(BootError)
    return (error as BootError).message
  }

  test('says where Redis is and what it refuses, never a password', async () => {
    await set('requirepass', 'secret')
    const at = `JOB_STORE: Redis at 127.0.0.1:${redis().port}: `
    expect(await refusal(redis().url)).toBe(`${at}it wants a password, and the URL has none`)
    expect(await refusal(urlWith(':wrong@'))).toBe(`${at}it does not take the user and password of the URL`)
    expect(await refusal(urlWith('nobody:secret@'))).toMatch(/does not take the user and password/)
    expect(await told(urlWith(':secret@'))).toEqual([])
  })

  test('refuses a database that is not there, rather than take another', async () => {
    expect(await refusal(urlWith('', '/99'))).toMatch(/no database of the number/)
    expect(await told(urlWith('', '/3'))).toEqual([])
  })

  test('refuses a replica, and a release that is too old', async () => {
    onTestFinished(async () => {
      await raw.replicaof('NO', 'ONE')
    })
    await raw.replicaof('127.0.0.1', 1)
    expect(await refusal(redis().url)).toMatch(/replica.*name the primary/)
    const release = (version: string) => () => refuseUnfit(new Map([['redis_version', version]]))
    expect(release('6.0.16')).toThrow(/it is Redis 6.0.16; 6.2 or later is needed/)
    for (const version of ['6.2.0', '7.0.15', '8.2.1', '10.0.0']) expect(release(version)).not.toThrow()
    expect(() => refuseUnfit(new Map())).not.toThrow()
  })

  test('tries one that does not answer for a while, then says so', async () => {
    expect(await refusal('redis://127.0.0.1:1', 300)).toMatch(/at 127.0.0.1:1: .*ECONNREFUSED/)
    expect(await refusal('redis://nowhere.invalid', 300)).toMatch(/at nowhere.invalid:6379: .*nowhere.invalid/)
  })

  test('waits for one that is being started', async () => {
    await redis().kill()
    const opening = told()
    await redis().restart()
    expect((await opening).filter((line) => !/cannot reach Redis|Redis is available again/.test(line))).toEqual([])
  })

  test('warns of a Redis that would lose jobs, and tells of one that may lose a second', async () => {
    expect(await told()).toEqual([])
    await set('appendfsync', 'everysec')
    expect(await told()).toEqual([expect.stringMatching(/^info: .*appendfsync everysec.* last second may be lost/)])
    await set('appendonly', 'no')
    expect(await told()).toEqual([expect.stringMatching(/^warn: Redis keeps nothing on disk/)])
    await set('save', '3600 1')
    expect(await told()).toEqual([expect.stringMatching(/^warn: .*no append-only file.*since its last snapshot/)])
    await set('maxmemory-policy', 'allkeys-lru')
    expect(await told()).toHaveLength(2)
    expect(await told()).toContainEqual(expect.stringMatching(/^warn: .*maxmemory-policy allkeys-lru/))
  })

  test('warns of nothing where it is told nothing, and asks for no more rights than it needs', async () => {
    await set('maxmemory-policy', 'allkeys-lru')
    onTestFinished(async () => {
      await raw.acl('DELUSER', 'app')
    })
    await raw.acl('SETUSER', 'app', 'on', '>pw', '~{boot}:*', '+@all', '-@admin', '-@dangerous')
    expect(await told(urlWith('app:pw@'))).toEqual([])
    await raw.acl('SETUSER', 'app', '+info')
    expect(await told(urlWith('app:pw@'))).toEqual([expect.stringMatching(/^warn: .*maxmemory-policy/)])
    await set('appendonly', 'no')
    expect(await told(urlWith('app:pw@'))).toContainEqual(expect.stringMatching(/^warn: .*no append-only file/))
    await raw.acl('SETUSER', 'app', '-@scripting')
    expect(await refusal(urlWith('app:pw@'))).toMatch(/user of the URL may not do what is needed/)
  })
})
