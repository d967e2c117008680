import { execFile } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { access, constants, mkdir, rm, stat, statfs, writeFile } from 'node:fs/promises'
import { delimiter, join, resolve } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { childEnvironment, type Config, ConfigError, loadConfig, shareWithLibraries } from '../config/config.ts'
import { hasReplicas } from '../config/checks.ts'
import { parseCommand } from '../config/formats.ts'
import type { Log } from '../jobs/log.ts'
import { codeOf, messageOf } from '../lib/errors.ts'
import { openFilesLimit } from '../process/boot.ts'

const HELP = `Usage: npm run -s doctor

Checks the configuration as the server does at boot, and what it needs from
outside. Creates DATA_DIR as the server does, writes a byte to a bucket and
deletes it, and changes nothing else.

One line for each: ok, warn (it works, and you may want to change it) or fail
(jobs will not work). Exits with 1 if a line is fail.`

type Finding = readonly [level: 'ok' | 'warn' | 'fail', text: string]
type Check = readonly [name: string, run: (config: Config) => Promise<Finding[]>]

/** For one check, in ms: longer than the time limits of the clients that it uses. */
const CHECK_TIMEOUT_MS = 15_000
/** For one request of its own, in ms. */
const REQUEST_TIMEOUT_MS = 5_000

/** A logger that keeps the warnings and errors of a part as findings. */
function collect(findings: Finding[]): Log {
  const skip = () => undefined
  const keep =
    (level: Finding[0]) =>
    (fields: object, text: string): void =>
      void findings.push([level, 'reason' in fields ? `${text} (${String(fields.reason)})` : text])
  return { debug: skip, info: skip, warn: keep('warn'), error: keep('fail') }
}

async function checkAccess(config: Config): Promise<Finding[]> {
  const ways = (['API_KEYS', 'API_KEYS_FILE', 'OIDC_ISSUER'] as const).filter((name) => config[name] !== undefined)
  if (ways.length === 0) return [['warn', 'the server is open to every client: set API_KEYS or OIDC_ISSUER']]
  const { createKeyring } = await import('../auth/keys.ts')
  const { API_KEYS: entries, API_KEYS_FILE: file, OIDC_ISSUER: issuer } = config
  const findings: Finding[] = []
  if (entries !== undefined || file !== undefined) await createKeyring({ entries, file, log: collect(findings) })
  if (issuer !== undefined) {
    const { createIssuerKeys } = await import('../auth/oidc.ts')
    const keys = createIssuerKeys({ issuer, log: collect(findings) })
    // It has no such key; the log says if the issuer's keys cannot be had.
    await Promise.resolve(keys.find({ alg: 'RS256' }, { payload: '', signature: '' })).catch(() => undefined)
    keys.close()
  }
  return findings.length > 0 ? findings : [['ok', `by ${ways.join(', ')}`]]
}

async function checkModal({ MODAL_APP: app, MODAL_FUNCTION: run, MODAL_DOWNLOAD_FUNCTION: load, ...config }: Config) {
  const [{ openClient, rpcContext }, { createContract, findFunction }] = await Promise.all([
    import('../backend/modal/rpc.ts'),
    import('../backend/modal/contract.ts'),
  ])
  const findings: Finding[] = []
  const log = collect(findings)
  const client = openClient({ log })
  const find = (name: string) =>
    rpcContext.run({ timeoutMs: REQUEST_TIMEOUT_MS }, () => findFunction(client, app, name))
  const names = [run, ...(config.OUTPUT_SOURCE === undefined || config.OUTPUT_SOURCE === 'modal' ? [load] : [])]
  try {
    for (const name of names) {
      const { schema } = await find(name).catch((error: unknown) => {
        throw new Error(describeModalError(error, `${app}/${name}`), { cause: error })
      })
      if (name === run) createContract({ app, function: name }, log).found(schema)
    }
  } finally {
    client.close()
  }
  return findings.length > 0
    ? findings.map(([, text]): Finding => ['fail', text])
    : [['ok', `${names.join(' and ')} of ${app} are deployed and fit docs/function.md`] as const]
}

function describeModalError(error: unknown, name: string): string {
  // What gRPC adds is empty where it had no trouble with the name.
  const text = messageOf(error).replace(/\.? Resolution note: *$/, '')
  if (error instanceof Error && error.name === 'NotFoundError') {
    return `${name} is not deployed: run modal deploy, or correct MODAL_APP, MODAL_FUNCTION or MODAL_ENVIRONMENT`
  }
  if (/\b(UNAUTHENTICATED|PERMISSION_DENIED)\b/.test(text)) {
    return `Modal refuses the credentials: check MODAL_TOKEN_ID and MODAL_TOKEN_SECRET (${text})`
  }
  return `${name} cannot be looked up: is Modal reachable from here, through HTTPS_PROXY if there is one? (${text})`
}

async function checkCommand({ LOCAL_COMMAND: template = '' }: Config): Promise<Finding[]> {
  const [program = ''] = parseCommand(template).fill({})
  // As the server starts it: with a slash it is a path, otherwise it is on the PATH.
  const folders = program.includes('/') ? [''] : (childEnvironment().PATH ?? '').split(delimiter).filter(Boolean)
  const paths = folders.map((folder) => resolve(folder, program))
  for (const path of paths) if (await isProgram(path)) return [['ok', path]]
  return [['fail', `${program} cannot be run: set LOCAL_COMMAND to a program that is installed`]]
}

const isProgram = async (path: string): Promise<boolean> => {
  try {
    await access(path, constants.X_OK)
    return (await stat(path)).isFile()
  } catch {
    return false
  }
}

async function checkFfmpeg(): Promise<Finding[]> {
  const { findFfmpeg } = await import('../backend/local/ffmpeg.ts')
  const path = await findFfmpeg(childEnvironment().PATH)
  const { stdout } = await promisify(execFile)(path, ['-version'], { timeout: REQUEST_TIMEOUT_MS })
  return [['ok', `${/^ffmpeg version \S+/.exec(stdout)?.[0] ?? 'ffmpeg'} (${path})`]]
}

async function checkStore(config: Config): Promise<Finding[]> {
  const findings: Finding[] = []
  if (config.JOB_STORE === 'memory') {
    return [['warn', 'memory loses all jobs when the process exits: set JOB_STORE=sqlite:PATH or REDIS_URL']]
  }
  if (!hasReplicas(config)) return [['ok', `${config.JOB_STORE}; the server alone opens it`]]
  const [{ openRedis }, { closeRedis }] = await Promise.all([
    import('../store/redis/boot.ts'),
    import('../redis/connection.ts'),
  ])
  const log = collect(findings)
  // A line about an outage repeats the error that follows.
  const warn: Log['warn'] = (fields, text) => ('reason' in fields ? undefined : log.warn(fields, text))
  const settings = { url: config.JOB_STORE, name: 'doctor', bootTimeoutMs: REQUEST_TIMEOUT_MS }
  const redis = await openRedis({ ...settings, log: { ...log, warn } }).catch((error: unknown) => {
    throw config.REDIS_URL !== undefined ? new Error(describeRedisError(error), { cause: error }) : error
  })
  const [seconds = 0] = await redis.time()
  await closeRedis(redis)
  return [...describeClock(seconds * 1000, 'Redis'), ...findings, ['ok', 'Redis accepts commands']]
}

/** By the name of the setting that the operator gave. */
const describeRedisError = (error: unknown): string => {
  const text = messageOf(error).replace(/^JOB_STORE:/, 'REDIS_URL:')
  return /\b(ECONN\w+|ENOTFOUND|ETIMEDOUT|EAI_AGAIN)\b/.test(text) ? `${text}; start Redis, or correct REDIS_URL` : text
}

async function checkOutputs(config: Config): Promise<Finding[]> {
  const { openBucket, openOutputs } = await import('../wiring/storage.ts')
  await openOutputs(config, collect([]) as never, () => undefined)
  const { OUTPUT_SOURCE, OUTPUT_STORE, UPLOAD_STORE, S3_PREFIX = '' } = config
  if (![OUTPUT_SOURCE, OUTPUT_STORE, UPLOAD_STORE].includes('s3')) {
    return [['ok', OUTPUT_SOURCE ?? 'by the download function of Modal']]
  }
  const bucket = await openBucket(config)
  const url = await bucket.presign({ method: 'GET', key: `${S3_PREFIX}doctor-${randomUUID()}` }, 60)
  const response = await fetch(url, { signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) })
  const [, code = String(response.status)] = /<Code>(\w+)<\/Code>/.exec(await response.text()) ?? []
  return [describeBucket(code, config.S3_BUCKET ?? '')]
}

/** By the error code of S3 for a key that does not exist. */
function describeBucket(code: string, bucket: string): Finding {
  switch (code) {
    case 'NoSuchKey':
      return ['ok', `the bucket ${bucket} can be read`]
    case 'AccessDenied':
      return [
        'warn',
        `the bucket ${bucket} denies reading a key that does not exist: allow s3:ListBucket and s3:GetObject`,
      ]
    case 'NoSuchBucket':
      return ['fail', `the bucket ${bucket} does not exist: check S3_BUCKET, S3_ENDPOINT and S3_REGION`]
    default:
      return [
        'fail',
        `the bucket ${bucket} answers ${code}: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and S3_REGION`,
      ]
  }
}

/** What the server does in its prefixes of the bucket, and the permission that each needs. */
const BUCKET_STEPS = [
  { method: 'PUT', permission: 's3:PutObject' },
  { method: 'GET', permission: 's3:GetObject' },
  { method: 'LIST', permission: 's3:ListBucket' },
  { method: 'DELETE', permission: 's3:DeleteObject' },
] as const

const UPLOADS = 'uploads/'

/** Writes, reads, lists and deletes a tiny object under each prefix. */
async function checkBucket(config: Config): Promise<Finding[]> {
  const { openBucket } = await import('../wiring/storage.ts')
  const bucket = await openBucket(config)
  const { UPLOAD_STORE, OUTPUT_STORE, S3_BUCKET = '', S3_PREFIX = '' } = config
  const folders = [...(UPLOAD_STORE === 's3' ? [UPLOADS] : []), ...(OUTPUT_STORE === 's3' ? ['outputs/'] : [])]
  const findings: Finding[] = []
  for (const prefix of folders.map((folder) => S3_PREFIX + folder)) {
    // Named like an upload: if it cannot be deleted now, the sweep does that.
    const key = prefix + randomBytes(16).toString('base64url')
    for (const { method, permission } of BUCKET_STEPS) {
      const response = await bucket.send({
        ...(method === 'LIST' ? { method: 'GET', key: '', query: { 'list-type': '2', prefix } } : { method, key }),
        ...(method === 'PUT' && { headers: headersOfPut(prefix), body: new Blob(['x']).stream() }),
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      })
      const text = await response.text()
      if (response.ok) continue
      const [, code = String(response.status)] = /<Code>(\w+)<\/Code>/.exec(text) ?? []
      findings.push(describeBucketError(code, { what: `${method} in ${S3_BUCKET}/${prefix}`, permission }))
      // Without the object the others would say nothing.
      if (method === 'PUT') break
    }
  }
  return findings.length > 0 ? findings : [['ok', `${folders.join(' and ')} in ${S3_BUCKET} can be written to`]]
}

/** Clients write uploads once, as the server signs it. */
const headersOfPut = (prefix: string) => ({
  'content-length': '1',
  ...(prefix.endsWith(UPLOADS) && { 'if-none-match': '*' }),
})

function describeBucketError(code: string, { what, permission }: { what: string; permission: string }): Finding {
  switch (code) {
    case 'RequestTimeTooSkewed':
      return ['fail', `${what} is refused because this machine's clock is wrong: run NTP`]
    case 'NotImplemented':
      return ['fail', `${what} answers ${code}: uploads need a store that accepts If-None-Match on PUT`]
    case 'NoSuchBucket':
      return ['fail', `${what} fails, the bucket does not exist: check S3_BUCKET, S3_ENDPOINT and S3_REGION`]
    default:
      return ['fail', `${what} answers ${code}: allow ${permission}, and check AWS_ACCESS_KEY_ID and S3_REGION`]
  }
}

function checkSecrets(config: Config): Promise<Finding[]> {
  const findings: Finding[] = [
    config.WEBHOOK_SECRET === undefined
      ? ['warn', 'without WEBHOOK_SECRET there are no webhooks: whsec_ and the output of openssl rand -base64 32']
      : ['ok', 'webhooks are signed'],
  ]
  if (config.BACKEND === 'modal' && config.PUBLIC_URL === undefined) {
    findings.push([
      'warn',
      'without PUBLIC_URL files larger than MODAL_INLINE_BYTES are refused, and links name localhost',
    ])
  }
  return Promise.resolve(findings)
}

/** Allowed difference of clocks, in ms: that of tokens and of signed links. */
const CLOCK_TOLERANCE_MS = 5_000

const describeClock = (then: number, source: string): Finding[] => {
  const offsetMs = Date.now() - then
  if (Math.abs(offsetMs) <= CLOCK_TOLERANCE_MS) return []
  const text = `this machine's clock differs by ${Math.round(offsetMs / 1000)} s from that of ${source}: run NTP`
  return [['fail', text]]
}

const ASSUMED_LOCAL =
  'BACKEND is not set and there are no Modal credentials, so jobs run locally: set BACKEND=local, or MODAL_TOKEN_ID and MODAL_TOKEN_SECRET'

/** Compares with the `Date` of an HTTP answer, which has seconds. */
async function checkClock(config: Config): Promise<Finding[]> {
  const modal = config.BACKEND === 'modal' ? [config.MODAL_SERVER_URL ?? 'https://api.modal.com'] : []
  const sources = [...modal, ...(config.OIDC_ISSUER ? [config.OIDC_ISSUER] : [])]
  for (const url of sources) {
    const response = await fetch(url, { method: 'HEAD', signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) }).catch(
      () => undefined,
    )
    const date = Date.parse(response?.headers.get('date') ?? '')
    if (Number.isNaN(date)) continue
    const { host } = new URL(url)
    const wrong = describeClock(date, host)
    return wrong.length > 0 ? wrong : [['ok', `agrees with ${host}`]]
  }
  return [['warn', 'there is no other clock to compare with: make sure that NTP runs']]
}

/** Room that should be left, in bytes: a few uploads and outputs. */
const MIN_FREE_BYTES = 5 * 1024 ** 3

async function checkDisk({ DATA_DIR: folder, MAX_CONNECTIONS: connections }: Config): Promise<Finding[]> {
  try {
    await mkdir(folder, { recursive: true })
    const probe = join(folder, `.doctor-${randomUUID()}`)
    await writeFile(probe, 'x')
    await rm(probe)
  } catch (error) {
    const text = `DATA_DIR: ${folder} cannot be written to (${messageOf(error)})`
    return [['fail', `${text}; set DATA_DIR to a folder that the server may write to`]]
  }
  const { bavail, bsize } = await statfs(folder)
  const gigabytes = ((bavail * bsize) / 1024 ** 3).toFixed(1)
  const files = openFilesLimit() ?? Infinity
  return [
    bavail * bsize < MIN_FREE_BYTES
      ? ['warn', `${folder} has only ${gigabytes} GiB free: lower OUTPUT_CACHE_BYTES, or give it more`]
      : ['ok', `${folder} can be written to, and has ${gigabytes} GiB free`],
    ...(files < 2 * connections
      ? [['warn', `only ${files} open files are allowed: raise ulimit -n, or lower MAX_CONNECTIONS`] as const]
      : []),
  ]
}

const localCheckOf = ({ LOCAL_COMMAND: command }: Config): Check =>
  command === undefined ? ['ffmpeg', checkFfmpeg] : ['command', checkCommand]

const checksOf = (config: Config): Check[] => [
  ['access', checkAccess],
  config.BACKEND === 'modal' ? ['modal', checkModal] : localCheckOf(config),
  ['store', checkStore],
  ...(config.BACKEND === 'modal' ? ([['outputs', checkOutputs]] as const) : []),
  ...([config.UPLOAD_STORE, config.OUTPUT_STORE].includes('s3') ? ([['bucket', checkBucket]] as const) : []),
  ['secrets', checkSecrets],
  ['clock', checkClock],
  ['disk', checkDisk],
]

async function runCheck([, run]: Check, config: Config): Promise<Finding[]> {
  const timeout = AbortSignal.timeout(CHECK_TIMEOUT_MS)
  const late = new Promise<never>((_resolve, reject) => {
    timeout.onabort = () => reject(new Error(`no answer within ${CHECK_TIMEOUT_MS / 1000} s`))
  })
  try {
    return await Promise.race([run(config), late])
  } catch (error) {
    const [text, code] = [messageOf(error), codeOf(error) ?? '']
    return [['fail', text.includes(code) ? text : `${text} (${code})`]]
  }
}

function print(name: string, [level, text]: Finding): void {
  if (level === 'fail') process.exitCode = 1
  process.stdout.write(`${level.padEnd(5)} ${name.padEnd(8)} ${text.replaceAll('\n', '; ')}\n`)
}

async function diagnose(): Promise<void> {
  let config: Config
  try {
    config = loadConfig()
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    for (const text of error.errors) print('config', ['fail', text])
    return
  }
  shareWithLibraries(config)
  if (config.backendAssumed) print('config', ['warn', ASSUMED_LOCAL])
  else print('config', ['ok', `BACKEND is ${config.BACKEND}`])
  const checks = checksOf(config)
  const results = checks.map((check) => runCheck(check, config))
  for (const [n, [name]] of checks.entries()) for (const finding of (await results[n]) ?? []) print(name, finding)
}

async function run(): Promise<void> {
  try {
    const { values } = parseArgs({ options: { help: { type: 'boolean', short: 'h' } } })
    if (values.help) process.stdout.write(`${HELP}\n`)
    else await diagnose()
  } catch (error) {
    if (codeOf(error)?.startsWith('ERR_PARSE_ARGS') !== true) throw error
    process.stderr.write(`doctor: ${messageOf(error)}\n\n${HELP}\n`)
    process.exitCode = 2
  }
}

await run()
// A connection that was refused or hangs must not keep the command from ending.
process.exit()
