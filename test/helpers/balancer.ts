import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { type TestDns, startDns } from './dns.ts'
import { folderOfTest } from './of-test.ts'
import { accepts, freePort } from './ports.ts'
import { until } from './until.ts'

/** The first open-source release in which an upstream's server may be resolved at run time. */
const FIRST_WITH_RESOLVE = [1, 27, 3]

/** `nginx version: nginx/1.28.0`, as numbers; undefined where there is no nginx. */
const version = /nginx\/([\d.]+)/.exec(spawnSync('nginx', ['-v'], { encoding: 'utf8' }).stderr || '')?.[1]?.split('.')

/** Why tests with the load balancer are skipped; undefined where they run. */
export const noNginx = version ? undefined : 'nginx is not on PATH'

/** Why tests of names that change are skipped; the others then run with fixed addresses, without `resolve`. */
export const noResolve = noNginx ?? reasonAgainst(version?.map(Number) ?? [])

function reasonAgainst(numbers: readonly number[]): string | undefined {
  const different = FIRST_WITH_RESOLVE.findIndex((number, n) => number !== numbers[n])
  const isOlder = different !== -1 && (numbers[different] ?? 0) < FIRST_WITH_RESOLVE[different]!
  if (isOlder) return `nginx ${numbers.join('.')} has no \`resolve\`; ${FIRST_WITH_RESOLVE.join('.')} has`
  return process.platform === 'linux' ? undefined : 'only Linux has 127.0.0.2 without being asked'
}

/** nginx.conf as compose.yaml gives it to the balancer. */
export function balancerConfig(): string {
  const block = readFileSync('compose.yaml', 'utf8').split('\n    content: |\n')[1] ?? ''
  const end = block.search(/^ {0,5}\S/m)
  return (end === -1 ? block : block.slice(0, end)).replace(/^ {6}/gm, '').replaceAll('$$', '$')
}

/** Where a replica listens that compose.yaml calls by this name. */
export type Places = Readonly<Record<'server-1' | 'server-2', number>>

export type Balancer = {
  readonly url: string
  /** What it resolves the names of replicas by; none of them is known yet. */
  readonly dns: TestDns
  /** The access log so far. */
  log(): string
}

/** What is changed in a configuration: text that it has once, and what takes its place. */
type Changes = Readonly<Record<string, string>>

/** Runs the real nginx with the configuration of compose.yaml, but for these changes, until the end of the test. */
export async function startBalancer(ports: Places, changes: Changes = {}): Promise<Balancer> {
  const folder = folderOfTest()
  // As root, nginx runs its workers as somebody else.
  chmodSync(folder, 0o755)
  const [dns, port] = [await startDns(), await freePort()]
  const file = join(folder, 'nginx.conf')
  writeFileSync(file, onLoopback({ folder, port, ports, dnsPort: dns.port, changes }))
  const own = `daemon off; error_log stderr; pid ${folder}/nginx.pid;`
  const child = spawn('nginx', ['-e', 'stderr', '-c', file, '-g', own], { stdio: ['ignore', 'ignore', 'pipe'] })
  const printed: string[] = []
  child.stderr.on('data', (chunk: Buffer) => printed.push(chunk.toString()))
  onTestFinished(async () => {
    if (child.exitCode !== null) return
    child.kill('SIGTERM')
    await once(child, 'exit')
  })
  await until(async () => child.exitCode !== null || (await accepts(port)), 'nginx listening')
  if (child.exitCode !== null) throw new Error(`nginx did not start:\n${printed.join('')}`)
  return { url: `http://127.0.0.1:${port}`, dns, log: () => readFileSync(join(folder, 'access.log'), 'utf8') }
}

type Loopback = { folder: string; port: number; ports: Places; dnsPort: number; changes: Changes }

/** Only addresses, ports and folders change; and `resolve` goes where this nginx does not have it. */
function onLoopback({ folder, port, ports, dnsPort, changes: own }: Loopback): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((of) => `${of}_temp_path ${folder}/${of};`)
  const serverOf = (name: keyof Places) =>
    noResolve === undefined ? `server ${name}:${ports[name]} resolve` : `server 127.0.0.1:${ports[name]}`
  const changes = {
    'http {': `http { ${temporary.join(' ')}`,
    'listen 9000;': `listen 127.0.0.1:${port};`,
    'access_log /var/log/nginx/access.log': `access_log ${folder}/access.log`,
    'resolver 127.0.0.11 ': `resolver 127.0.0.1:${dnsPort} `,
    'server server-1:9000 resolve': serverOf('server-1'),
    'server server-2:9000 resolve': serverOf('server-2'),
    ...own,
  }
  return Object.entries(changes).reduce((config, [from, to]) => {
    if (config.split(from).length !== 2) throw new Error(`compose.yaml does not have once: ${from}`)
    return config.replace(from, to)
  }, balancerConfig())
}
