import { type Static, type TSchema, Type } from '@sinclair/typebox'
import { Ajv, type ErrorObject } from 'ajv'
import { backendOf, type Environment, hasModalCredentials, joinedFaults, mayHoldPassword } from './checks.ts'
import { BootError } from '../problems.ts'

const text = (description: string, options: object = {}) => Type.String({ minLength: 1, description, ...options })
const integer = (description: string, range: { default: number; minimum: number; maximum: number }) =>
  Type.Integer({ description, ...range })
const choice = <const T extends string>(names: readonly T[], description: string, options: object = {}) =>
  Type.Unsafe<T>({ type: 'string', enum: names, description, ...options })

const MiB = 1024 * 1024
/** An http(s) URL without credentials, query and fragment. */
const URL_PATTERN = '^https?://[^\\s/?#@]+(/[^\\s?#]*)?$'
const HOST_PATTERN = '\\s*(\\*\\.)?[^\\s,:/*]+\\s*'

/** Every environment variable the server reads: at once the type, the parser, the defaults and the README's table. */
export const ConfigSchema = Type.Object({
  HOST: text('Address to listen on.', { default: '0.0.0.0' }),
  PORT: integer('Port to listen on; 0 takes a free one.', { default: 9000, minimum: 0, maximum: 65535 }),
  LOG_LEVEL: choice(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], 'Least severe level logged.', {
    default: 'info',
  }),
  NODE_ENV: choice(['development', 'test', 'production'], '`production` refuses to guess: see `BACKEND` and `AUTH`.', {
    default: 'development',
  }),
  BODY_LIMIT_BYTES: integer('Largest JSON body accepted.', { default: 65536, minimum: 1024, maximum: MiB }),
  TRUST_PROXY: Type.Optional(
    text(
      'Proxies whose `X-Forwarded-*` headers are believed: addresses and networks, comma-separated, or their number where nobody reaches the port but through them. Unset: nobody.',
    ),
  ),
  CORS_ORIGINS: Type.Optional(
    text('Origins whose pages may use the API from a browser, comma-separated: `https://app.example.com`.'),
  ),
  PUBLIC_DOCS: Type.Optional(
    Type.Boolean({
      description:
        'Whether anybody may read `/docs` and `/openapi.json`. Unset: on an open server; with authentication on, any valid credential may. `false` on an open server: nobody.',
    }),
  ),
  RATE_LIMIT_SUBMIT_PER_MINUTE: integer(
    'Submits and retries a minute of one caller, or of one address without authentication; 0: no limit.',
    { default: 600, minimum: 0, maximum: 1_000_000_000 },
  ),
  RATE_LIMIT_READ_PER_MINUTE: integer('Likewise all other requests.', {
    default: 6000,
    minimum: 0,
    maximum: 1_000_000_000,
  }),
  MAX_CONNECTIONS: integer(
    'Connections at the same time; beyond them idle ones of the address that has most are closed, then new ones answer 503, probes excepted. 0: no limit.',
    {
      default: 10_000,
      minimum: 0,
      maximum: 1_000_000,
    },
  ),
  MAX_STREAMS_PER_CALLER: integer(
    'Streams of events and of logs one caller may have open; further ones answer 429. 0: no limit.',
    { default: 200, minimum: 0, maximum: 1_000_000 },
  ),
  MAX_EVENT_LOOP_DELAY_MS: integer(
    'Mean delay of the event loop beyond which requests are answered 503 until it has recovered; 0: no limit.',
    { default: 1000, minimum: 0, maximum: 60_000 },
  ),
  SHUTDOWN_GRACE_SECONDS: integer('How long a polite end may take.', { default: 8, minimum: 1, maximum: 600 }),
  BACKEND: Type.Optional(
    choice(
      ['modal', 'local'],
      '`modal` runs the deployed GPU function, `local` a child process. Unset: `modal` where Modal credentials are found, else `local`; in production an error.',
    ),
  ),
  MODAL_APP: text('Name of the deployed Modal app.', { default: 'musetalk-poc' }),
  MODAL_FUNCTION: text('Function that runs the inference.', { default: 'run_inference' }),
  MODAL_DOWNLOAD_FUNCTION: text('Function that hands out an output.', { default: 'download_result' }),
  MODAL_MAX_CONNECTIONS: integer('Connections to Modal that wait for ends; opened as they are needed.', {
    default: 16,
    minimum: 1,
    maximum: 256,
  }),
  MODAL_POLLS_PER_CONNECTION: integer(
    'Calls waited for on one of them at the same time; beyond all, they take turns.',
    {
      default: 80,
      minimum: 1,
      maximum: 1000,
    },
  ),
  MODAL_TOKEN_ID: Type.Optional(text("Modal's own: token id (else `~/.modal.toml`).")),
  MODAL_TOKEN_SECRET: Type.Optional(text("Modal's own: token secret.", { secret: true })),
  MODAL_ENVIRONMENT: Type.Optional(text("Modal's own: environment of the app.")),
  MODAL_SERVER_URL: Type.Optional(text("Modal's own: another control plane.", { pattern: '^https?://[^/]' })),
  MODAL_CREDENTIALS_GRACE_SECONDS: integer(
    'How long new jobs wait while Modal refuses the credentials, before they fail with `backend_rejected`; 0: not at all.',
    { default: 120, minimum: 0, maximum: 86_400 },
  ),
  LOCAL_COMMAND: Type.Optional(
    text('Command the local backend runs instead of ffmpeg; `{face}`, `{audio}`, `{output}`, `{version}`; no shell.'),
  ),
  LOCAL_MAX_PROCESSES: integer('Local children at the same time; further jobs wait.', {
    default: 2,
    minimum: 1,
    maximum: 256,
  }),
  MEDIA_ROOT: text('Folder under which the local backend resolves `video_path` and `audio_path`.', {
    default: './samples',
  }),
  DATA_DIR: text('Folder for what the server writes.', { default: './data' }),
  DATA_DIR_SHARED: Type.Boolean({
    default: false,
    description: 'States that all replicas have the same `DATA_DIR`: with Redis, uploads and `BACKEND=local` need it.',
  }),
  AUTH: Type.Optional(
    choice(
      ['none'],
      '`none` lets everybody in. Unset: whom the variables below let in; without them everybody, in production an error.',
    ),
  ),
  API_KEYS: Type.Optional(
    text('API keys, as `npm run -s keys -- create NAME` prints them: `name:sha256:scopes`, separated by commas.', {
      secret: true,
    }),
  ),
  API_KEYS_FILE: Type.Optional(
    text('File of further such entries, one a line, `#` for comments; read again on SIGHUP.'),
  ),
  OIDC_ISSUER: Type.Optional(text('OpenID Connect issuer whose access tokens let in, exactly as their `iss` has it.')),
  OIDC_AUDIENCE: Type.Optional(text('What the `aud` of such a token must hold.')),
  JOB_STORE: text(
    'Where jobs are kept: `memory` loses them with the process, `sqlite:PATH` keeps them in a file, `redis://...` (`rediss://` with TLS) is for any number of replicas.',
    { default: 'memory', pattern: '^(memory|sqlite:.+|rediss?://[^\\s/].*)$' },
  ),
  REDIS_PREFIX: text('What every key in Redis begins with; servers that share it share their jobs.', {
    default: 'musetalk',
    pattern: '^[\\w.-]+$',
  }),
  JOB_RETENTION_SECONDS: integer('How long a job is kept after its end.', {
    default: 604_800,
    minimum: 1,
    maximum: 315_360_000,
  }),
  MAX_FINISHED_JOBS: integer('Finished jobs kept in `memory`, less where they fill half of the heap; 0: no limit.', {
    default: 100_000,
    minimum: 0,
    maximum: 100_000_000,
  }),
  JOB_TIMEOUT_SECONDS: integer('Time a job has from acceptance to its end.', {
    default: 7200,
    minimum: 1,
    maximum: 604800,
  }),
  RUN_TIMEOUT_SECONDS: Type.Optional(
    Type.Integer({
      description:
        'Time a run may take from its start at the backend, where the backend tells the start, unless the submit says another. Unset: no limit but the deadline.',
      minimum: 1,
      maximum: 604_800,
    }),
  ),
  MAX_ATTEMPTS: integer('Attempts at a job that the backend interrupts.', { default: 2, minimum: 1, maximum: 10 }),
  MAX_RETRIES: integer('Retries of one job, by its caller; beyond them a retry answers 409.', {
    default: 100,
    minimum: 1,
    maximum: 10_000,
  }),
  MAX_CONCURRENT_JOBS: integer(
    'Jobs at the backend at the same time, the others are held back in order; 0: no limit.',
    {
      default: 0,
      minimum: 0,
      maximum: 1_000_000,
    },
  ),
  MAX_QUEUED_JOBS: integer('Jobs accepted but not yet at the backend; beyond them a submit answers 503. 0: no limit.', {
    default: 100_000,
    minimum: 0,
    maximum: 10_000_000,
  }),
  MAX_ACTIVE_JOBS_PER_CALLER: integer('Unfinished jobs of one caller; beyond them a submit answers 429. 0: no limit.', {
    default: 0,
    minimum: 0,
    maximum: 1_000_000,
  }),
  INPUT_URL_ALLOWLIST: Type.Optional(
    text('Hosts input URLs may be on, comma-separated; `*.example.com` for subdomains. Unset: any.', {
      pattern: `^${HOST_PATTERN}(,${HOST_PATTERN})*$`,
    }),
  ),
  INPUT_URL_ALLOW_PRIVATE: Type.Boolean({
    default: false,
    description: 'Lets inputs be fetched from private and loopback addresses.',
  }),
  MAX_UPLOAD_BYTES: integer('Files of one submit together.', {
    default: 512 * MiB,
    minimum: 1024,
    maximum: 64 * 1024 * MiB,
  }),
  MAX_CONCURRENT_UPLOADS: integer(
    'Submits with files received at the same time, of which a caller may have as many as it leaves free, so half if it is alone; beyond them 503. 0: no limit.',
    {
      default: 32,
      minimum: 0,
      maximum: 100_000,
    },
  ),
  MAX_INPUT_BYTES: integer('Largest input the local backend fetches or opens.', {
    default: 512 * MiB,
    minimum: 1024,
    maximum: 64 * 1024 * MiB,
  }),
  INPUT_TIMEOUT_SECONDS: integer('Time the fetch of one input may take.', { default: 120, minimum: 1, maximum: 3600 }),
  PUBLIC_URL: Type.Optional(
    text(
      'Where callers reach the server, for the links it gives out and for its reference. Unset: links lead to `http://localhost:PORT`.',
      {
        pattern: URL_PATTERN,
      },
    ),
  ),
  OUTPUT_SOURCE: Type.Optional(
    choice(
      ['modal', 'dir', 's3'],
      'Where outputs of Modal come from: `modal` by its download function (the default), `dir` a mounted volume, `s3` a redirect. The local backend serves its own.',
    ),
  ),
  OUTPUT_ROOT: Type.Optional(text('For `dir`: the folder where `/shared` of the function is mounted.')),
  OUTPUT_PREFETCH: Type.Boolean({
    default: false,
    description: 'For `modal`: fetches an output when its job succeeds, not when it is first asked for.',
  }),
  OUTPUT_CACHE_BYTES: integer(
    'For `modal`: outputs kept in `DATA_DIR`; those read longest ago go first, and one that is larger is refused.',
    { default: 10 * 1024 * MiB, minimum: MiB, maximum: 1024 ** 5 },
  ),
  OUTPUT_URL_TTL_SECONDS: integer('How long a link to an output is valid.', {
    default: 3600,
    minimum: 1,
    maximum: 604_800,
  }),
  SIGNING_SECRET: Type.Optional(
    text(
      'Signs links; several, comma-separated: the first signs, all are believed. Unset: one is kept with the jobs.',
      {
        secret: true,
        pattern: '^\\s*[^,\\s][^,]*(,\\s*[^,\\s][^,]*)*$',
      },
    ),
  ),
  S3_ENDPOINT: Type.Optional(
    text('For `s3`: the store, buckets in the path. Unset: AWS, in `S3_REGION`.', { pattern: URL_PATTERN }),
  ),
  S3_BUCKET: Type.Optional(text('For `s3`: the bucket.', { pattern: '^[\\w.-]+$' })),
  S3_REGION: text('For `s3`: the region.', { default: 'us-east-1', pattern: '^[\\w-]+$' }),
  S3_PREFIX: Type.Optional(
    text("For `s3`: put before an output's path below `/shared/`, as it is; a folder ends with a slash."),
  ),
  AWS_ACCESS_KEY_ID: Type.Optional(text('For `s3`: credentials that may read the outputs.')),
  AWS_SECRET_ACCESS_KEY: Type.Optional(text('For `s3`: their secret.', { secret: true })),
  AWS_SESSION_TOKEN: Type.Optional(text('For `s3`: their token, where they are temporary.', { secret: true })),
  WEBHOOK_SECRET: Type.Optional(
    text(
      'Signs webhooks: `whsec_` and the base64 of 24 to 64 bytes; several, comma-separated, the newest first, all sign. Unset: no webhooks.',
      { secret: true },
    ),
  ),
  WEBHOOK_ALLOW_PRIVATE: Type.Boolean({
    default: false,
    description: 'Lets webhooks be sent to private and loopback addresses.',
  }),
  WEBHOOK_TIMEOUT_SECONDS: integer('Time one try of a webhook may take.', { default: 15, minimum: 1, maximum: 300 }),
})

export type Config = Readonly<Omit<Static<typeof ConfigSchema>, 'BACKEND'>> & {
  readonly BACKEND: 'modal' | 'local'
  /** True when `BACKEND` was not set and `local` was taken for want of Modal credentials. */
  readonly backendAssumed: boolean
}

/** Settings that cannot be used; the message names every faulty variable, and never shows a secret's value. */
export class ConfigError extends BootError {
  readonly faults: string[]

  constructor(faults: string[]) {
    super(`The configuration is not usable:\n${faults.map((fault) => `  ${fault}`).join('\n')}`)
    this.faults = faults
  }
}

const validate = new Ajv({ useDefaults: true, allErrors: true, strict: false }).compile(ConfigSchema)

/** Reads and checks the environment. An empty variable counts as unset. Throws `ConfigError` with all faults at once. */
export function loadConfig(env: Environment = process.env): Config {
  const values = given(env)
  const faults = validate(values) ? [] : (validate.errors ?? []).map((error) => describeFault(error, env))
  faults.push(...joinedFaults(values, env))
  if (faults.length > 0) throw new ConfigError(faults)

  const config = values as Static<typeof ConfigSchema>
  const found = hasModalCredentials(env)
  const backend = backendOf(values, env)
  return Object.freeze({ ...config, BACKEND: backend, backendAssumed: config.BACKEND === undefined && !found })
}

/** Where callers reach the server, without a slash at its end, so that paths can follow. */
export const publicUrlOf = ({ PUBLIC_URL }: Pick<Config, 'PUBLIC_URL'>): string | undefined =>
  PUBLIC_URL?.replace(/\/+$/, '')

/**
 * What a child process may see of the environment: what programs need to run, and nothing of the server's own,
 * so that no secret reaches a command of `LOCAL_COMMAND`.
 */
export function childEnvironment(env: Environment = process.env): Record<string, string> {
  const passed = /^(PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|TZ|TMPDIR|LD_LIBRARY_PATH|VIRTUAL_ENV|HF_HOME)$/
  const families = /^(LC|PYTHON|CONDA|CUDA|NVIDIA|XDG|OMP|TORCH)(_|[A-Z])/
  const entries = Object.entries(env).filter(([name]) => passed.test(name) || families.test(name))
  return Object.fromEntries(entries.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])))
}

/** Node's own flags: those of `NODE_OPTIONS`, then those of the command line, which count more. */
export const nodeFlags = (env: Environment = process.env): readonly string[] => [
  ...(env.NODE_OPTIONS ?? '').split(/\s+/).filter(Boolean),
  ...process.execArgv,
]

function given(env: Environment): Record<string, unknown> {
  const settings = Object.entries(ConfigSchema.properties as Record<string, TSchema>)
  return Object.fromEntries(
    settings.flatMap(([name, schema]) => (env[name] ? [[name, valueOf(env[name], schema)]] : [])),
  )
}

/** Text as the schema's type, where it is written as one; what is not stays text, and is refused as such. */
function valueOf(text: string, { type }: TSchema): unknown {
  if (type === 'integer' && /^-?\d{1,15}$/.test(text)) return Number(text)
  if (type === 'boolean' && (text === 'true' || text === 'false')) return text === 'true'
  return text
}

function describeFault(error: ErrorObject, env: Environment): string {
  const name = error.instancePath.slice(1)
  const schema: TSchema | undefined = (ConfigSchema.properties as Record<string, TSchema>)[name]
  const allowed = error.keyword === 'enum' ? `: ${(error.params.allowedValues as string[]).join(', ')}` : ''
  const value = schema?.secret || mayHoldPassword(env[name]) ? '' : `, got ${JSON.stringify(env[name])}`
  return `${name}: ${error.message ?? 'is not valid'}${allowed}${value}`
}
