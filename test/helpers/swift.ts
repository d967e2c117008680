import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createS3Bucket, type S3Options } from '../../src/files/s3.ts'
import { accepts, freePort } from './ports.ts'
import { until } from './until.ts'

// OpenStack Swift with its S3 API on one disk: a store that we did not write and that checks signatures. Debian has it as
// swift-proxy, swift-account, swift-container and swift-object, beside memcached.

const RINGS = ['account', 'container', 'object'] as const
const MIDDLEWARE = ['catch_errors', 'cache', 's3api', 'tempauth', 'copy', 'slo', 'dlo']

function missingProgram(): string | undefined {
  for (const program of [
    'memcached',
    'swift-ring-builder',
    ...['proxy', ...RINGS].map((name) => `swift-${name}-server`),
  ]) {
    try {
      execFileSync('which', [program], { stdio: 'ignore' })
    } catch {
      return program
    }
  }
  return undefined
}

const missing = missingProgram()
/** Why tests with it are skipped; undefined where they run. */
export const noSwift = missing && `${missing} is not on PATH`
if (noSwift !== undefined) process.stderr.write(`skipped: a bucket of OpenStack Swift: ${noSwift}\n`)

export type Swift = Awaited<ReturnType<typeof startSwift>>

/** Starts Swift with a bucket. `close` stops it and removes what it has stored. */
export async function startSwift() {
  const folder = mkdtempSync(join(tmpdir(), 'swift-'))
  const children: ChildProcess[] = []
  const run = (program: string, ...args: string[]) =>
    void children.push(spawn(program, args, { cwd: folder, stdio: 'ignore' }))
  const close = () => {
    for (const child of children) child.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  }
  // Where it does not start, nothing else closes it.
  process.once('exit', close)
  const cachePort = await freePort()
  run('memcached', '-u', 'nobody', '-l', '127.0.0.1', '-p', String(cachePort))
  writeFileSync(
    join(folder, 'swift.conf'),
    '[swift-hash]\nswift_hash_path_suffix = a\nswift_hash_path_prefix = b\n[storage-policy:0]\nname = one\ndefault = yes\n',
  )
  mkdirSync(join(folder, 'disks', 'disk'), { recursive: true })
  const common = (port: number) =>
    `[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = ${port}\nworkers = 0\nuser = root\nswift_dir = ${folder}\n`
  const start = (name: string, settings: string) => {
    const file = join(folder, `${name}-server.conf`)
    writeFileSync(file, settings)
    run(`swift-${name}-server`, file)
  }
  const ports: number[] = []
  for (const name of RINGS) {
    const port = await freePort()
    ports.push(port)
    const ring = (...args: string[]) =>
      execFileSync('swift-ring-builder', [`${name}.builder`, ...args], { cwd: folder, stdio: 'ignore' })
    ring('create', '4', '1', '1')
    ring('add', `r1z1-127.0.0.1:${port}/disk`, '1')
    ring('rebalance')
    const disks = `devices = ${join(folder, 'disks')}\nmount_check = false\ndisable_fallocate = true\n`
    start(
      name,
      `${common(port)}${disks}[pipeline:main]\npipeline = ${name}-server\n[app:${name}-server]\nuse = egg:swift#${name}\n`,
    )
  }
  const port = await freePort()
  const settings: Readonly<Record<string, string>> = {
    cache: `memcache_servers = 127.0.0.1:${cachePort}`,
    s3api: 'location = us-east-1',
    tempauth: 'user_test_tester = testing .admin',
  }
  const filters = MIDDLEWARE.map((name) => {
    const egg = name === 'cache' ? 'memcache' : name
    return `[filter:${name}]\nuse = egg:swift#${egg}\n${settings[name] ?? ''}\n`
  })
  start(
    'proxy',
    `${common(port)}[pipeline:main]\npipeline = ${MIDDLEWARE.join(' ')} proxy-server
[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n${filters.join('')}`,
  )
  const options: S3Options = {
    endpoint: `http://127.0.0.1:${port}`,
    bucket: 'outputs',
    region: 'us-east-1',
    accessKeyId: 'test:tester',
    secretAccessKey: 'testing',
  }
  // A proxy that was refused by a server ten times answers 503 for a minute, so it is asked when all of them listen.
  for (const each of [cachePort, ...ports, port]) await until(() => accepts(each), 'Swift listening')
  const bucket = createS3Bucket(options)
  await until(async () => {
    const request = { method: 'PUT', key: '', headers: { 'content-length': '0' } } as const
    const created = await bucket.send({ ...request, signal: AbortSignal.timeout(5_000) }).catch(() => undefined)
    await created?.body?.cancel()
    return created?.ok
  }, 'a bucket in Swift')
  return {
    bucket,
    options,
    close,
    /** The settings of a server that uses it. */
    env: {
      S3_ENDPOINT: options.endpoint,
      S3_BUCKET: options.bucket,
      AWS_ACCESS_KEY_ID: options.accessKeyId,
      AWS_SECRET_ACCESS_KEY: options.secretAccessKey,
    },
  }
}
