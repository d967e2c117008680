import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { createResolver, LookupUnavailable, type ResolverOptions } from '../../src/net/resolver.ts'
import { startDns } from '../helpers/dns.ts'

async function scene(options: ResolverOptions = {}) {
  const dns = await startDns()
  const resolve = createResolver({ servers: [dns.server], hostsFile: '/nowhere', resolvConf: '/nowhere', ...options })
  return { dns, resolve }
}

async function fileOf(text: string): Promise<string> {
  const path = join(await mkdtemp(join(tmpdir(), 'resolver-')), 'file')
  await writeFile(path, text)
  return path
}

const v4 = (address: string) => ({ address, family: 4 })
const isSilent = (name: string) => name.endsWith('.silent')

describe('a look-up', () => {
  test('finds the addresses of a name, in whatever case it is written', async () => {
    const { dns, resolve } = await scene()
    dns.addresses.set('a.example', '192.0.2.1')
    expect(await resolve('A.example')).toEqual([v4('192.0.2.1')])
  })

  test('of a name that does not exist is ENOTFOUND', async () => {
    const { resolve } = await scene()
    await expect(resolve('nowhere.example')).rejects.toMatchObject({ code: 'ENOTFOUND' })
  })

  test('that nobody answers is unavailable after two seconds, which says nothing of the name', async () => {
    const { dns, resolve } = await scene()
    dns.isSilent = isSilent
    const startedAt = performance.now()
    await expect(resolve('a.silent')).rejects.toBeInstanceOf(LookupUnavailable)
    expect(performance.now() - startedAt).toBeLessThan(4_000)
  })

  test('that DNS refuses, or whose server has stopped, is unavailable', async () => {
    const { resolve } = await scene({ servers: ['127.0.0.1:1'] })
    await expect(resolve('a.example')).rejects.toBeInstanceOf(LookupUnavailable)
  })

  test('is made once for all who ask, and its failure is remembered for a while', async () => {
    const { dns, resolve } = await scene()
    const asked = Array.from({ length: 20 }, () => resolve('nowhere.example').catch(() => 'failed'))
    expect(new Set(await Promise.all(asked))).toEqual(new Set(['failed']))
    await expect(resolve('nowhere.example')).rejects.toThrow()
    expect(dns.queries).toEqual(['A nowhere.example', 'AAAA nowhere.example'])
  })
})

describe('names of this machine and its network', () => {
  test('those of the hosts file are found there, without DNS', async () => {
    const hosts = '# comment\n127.0.0.1 localhost\n10.0.0.7\tDB db.internal # the database\n::1 db.internal\n'
    const { dns, resolve } = await scene({ hostsFile: await fileOf(hosts) })
    expect(await resolve('db')).toEqual([v4('10.0.0.7')])
    expect(await resolve('db.internal')).toEqual([v4('10.0.0.7'), { address: '::1', family: 6 }])
    expect(await resolve('localhost')).toEqual([v4('127.0.0.1')])
    expect(dns.queries).toEqual([])
  })

  test('localhost and what is below it are this machine though no file says so', async () => {
    const { dns, resolve } = await scene()
    const loopback = [v4('127.0.0.1'), { address: '::1', family: 6 }]
    expect(await resolve('localhost')).toEqual(loopback)
    expect(await resolve('app.localhost')).toEqual(loopback)
    expect(dns.queries).toEqual([])
  })

  test('the real hosts file has localhost', async () => {
    expect((await createResolver()('localhost')).map(({ address }) => address)).toContain('127.0.0.1')
  })

  test('short names are looked up with the suffixes of resolv.conf', async () => {
    const resolvConf = await fileOf('nameserver 127.0.0.1\nsearch jobs.svc.cluster.local svc.cluster.local\n')
    const { dns, resolve } = await scene({ resolvConf })
    dns.addresses.set('receiver.jobs.svc.cluster.local', '10.1.0.1')
    dns.addresses.set('store.media.svc.cluster.local', '10.1.0.2')
    expect(await resolve('receiver')).toEqual([v4('10.1.0.1')])
    expect(await resolve('store.media')).toEqual([v4('10.1.0.2')])
    await expect(resolve('store.media.')).rejects.toMatchObject({ code: 'ENOTFOUND' })
  })
})

describe('a caller whose names nobody answers for', () => {
  test('does not delay the look-ups of others, nor file access, and makes no name unavailable for them', async () => {
    const { dns, resolve } = await scene()
    dns.isSilent = isSilent
    dns.addresses.set('b.example', '192.0.2.2')
    const silent = Array.from({ length: 500 }, (_, n) =>
      resolve(`${n}.silent`, 'key:a').catch((error: unknown) => error),
    )
    const ofGreedy = resolve('b.example', 'key:a').catch((error: unknown) => error)
    const startedAt = performance.now()
    expect(await resolve('b.example', 'key:b')).toEqual([v4('192.0.2.2')])
    expect(performance.now() - startedAt).toBeLessThan(1_500)
    expect(await ofGreedy).toBeInstanceOf(LookupUnavailable)
    expect(await resolve('b.example', 'key:b')).toEqual([v4('192.0.2.2')])
    for (const error of await Promise.all(silent)) expect(error).toBeInstanceOf(LookupUnavailable)
    // Its share of the slots: names beyond it timed out while they waited, and were not looked up.
    expect(new Set(dns.queries.filter((query) => query.endsWith('.silent'))).size).toBeLessThan(500)
  })
})
