import { type Static, type TSchema, Type } from '@sinclair/typebox'
import { Ajv, type ErrorObject } from 'ajv'
import {
  backendOf,
  type Environment,
  hasModalCredentials,
  findErrors,
  mayContainPassword,
  readSecretFiles,
} from './checks.ts'
import { BACKEND_NAMES, type BackendName } from '../jobs/job.ts'
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

/** Every environment variable the server reads: at once the type, the parser, the defaults and the tables of docs/configuration.md. */
export const ConfigSchema = Type.Object({
  HOST: text('Address to listen on.', { default: '0.0.0.0' }),
  PORT: integer('Port to listen on. 0: a free port.', { default: 9000, minimum: 0, maximum: 65535 }),
  METRICS_HOST: text('Address to listen on at `METRICS_PORT`.', { default: '127.0.0.1' }),
  METRICS_PORT: Type.Optional(
    Type.Integer({
      description:
        'Port of a second listener that has only `GET /metrics`, without authentication: keep clients away from it. 0: a free port. Unset: no such listener.',
      minimum: 0,
      maximum: 65535,
    }),
  ),
  LOG_LEVEL: choice(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], 'Least severe level to log.', {
    default: 'info',
  }),
  NODE_ENV: choice(
    ['development', 'test', 'production'],
    '`production` requires an explicit backend and explicit authentication: see `BACKEND` and `AUTH`.',
    { default: 'development' },
  ),
  BODY_LIMIT_BYTES: integer('Maximum size of a JSON body, in bytes; a larger one is answered 413.', {
    default: 65536,
    minimum: 1024,
    maximum: MiB,
  }),
  TRUST_PROXY: Type.Optional(
    text(
      'Proxies whose `X-Forwarded-*` headers are trusted: addresses and networks, comma-separated, or the number of proxies in front if no client can bypass them. Unset: no headers are trusted.',
    ),
  ),
  CORS_ORIGINS: Type.Optional(
    text(
      'Origins whose pages may call the API from a browser, comma-separated: `https://app.example.com`. Unset: none but its own.',
    ),
  ),
  PUBLIC_DOCS: Type.Optional(
    Type.Boolean({
      description:
        'Whether `/docs` and `/openapi.json` are public. Unset: public on an open server; with authentication they need any valid credential. `false` on an open server: disabled.',
    }),
  ),
  CONSOLE: Type.Boolean({
    default: true,
    description:
      'Whether `GET /` shows a console to browsers. With authentication its page is public and contains nothing; people sign in on it.',
  }),
  RATE_LIMIT_SUBMIT_PER_MINUTE: integer(
    'Maximum submits and retries per minute for one caller (without authentication: one address); beyond it 429. 0: no limit.',
    { default: 600, minimum: 0, maximum: 1_000_000_000 },
  ),
  RATE_LIMIT_READ_PER_MINUTE: integer('Maximum other requests per minute, likewise; beyond it 429. 0: no limit.', {
    default: 6000,
    minimum: 0,
    maximum: 1_000_000_000,
  }),
  MAX_CONNECTIONS: integer(
    'Maximum open connections. Beyond it idle connections of the address that has most are closed; then new ones are answered 503, except probes. 0: no limit.',
    { default: 10_000, minimum: 0, maximum: 1_000_000 },
  ),
  MAX_STREAMS_PER_CALLER: integer(
    'Maximum open streams of events and logs of one caller; beyond it 429. 0: no limit.',
    { default: 200, minimum: 0, maximum: 1_000_000 },
  ),
  MAX_EVENT_LOOP_DELAY_MS: integer(
    'Maximum time that requests wait for the event loop, in ms; while several in a row wait longer, they are answered 503. 0: no limit.',
    { default: 1000, minimum: 0, maximum: 60_000 },
  ),
  SHUTDOWN_GRACE_SECONDS: integer(
    'Graceful shutdown timeout, in seconds; after it the process exits with whatever is still open.',
    { default: 8, minimum: 1, maximum: 600 },
  ),
  BACKEND: Type.Optional(
    choice(
      BACKEND_NAMES,
      '`modal` runs the deployed GPU function, `local` a child process. Unset: `modal` if Modal credentials are found, else `local`; in production an error.',
    ),
  ),
  MODAL_APP: text('Name of the deployed Modal app.', { default: 'musetalk-poc' }),
  MODAL_FUNCTION: text('Name of the function that runs the inference, or `Class.method`; see docs/function.md.', {
    default: 'run_inference',
  }),
  MODAL_DOWNLOAD_FUNCTION: text('Name of the function that returns an output.', { default: 'download_result' }),
  MODAL_MAX_CONNECTIONS: integer('Maximum connections to Modal for polling; opened on demand.', {
    default: 16,
    minimum: 1,
    maximum: 256,
  }),
  MODAL_POLLS_PER_CONNECTION: integer(
    'Maximum open polls on one of these connections; calls beyond all of them are polled in turn.',
    { default: 80, minimum: 1, maximum: 1000 },
  ),
  MODAL_MAX_POLLS_PER_SECOND: integer(
    'Maximum polls that one server starts per second. 100 is half of what Modal allows a new workspace (200 requests a second): the other half is for spawns, cancels and whatever else uses the workspace. Divide it by the number of replicas; raise it with your limit at Modal.',
    { default: 100, minimum: 1, maximum: 10_000 },
  ),
  MODAL_MAX_POLL_INTERVAL_SECONDS: integer(
    "Maximum time between two polls of a call, in seconds, also while it waits in Modal's queue. N calls that need more than `MODAL_MAX_POLLS_PER_SECOND` are polled every N / `MODAL_MAX_POLLS_PER_SECOND` seconds.",
    { default: 60, minimum: 1, maximum: 3600 },
  ),
  MODAL_TOKEN_ID: Type.Optional(text("Modal's own: token id. Unset: from `~/.modal.toml`.", { secret: true })),
  MODAL_TOKEN_SECRET: Type.Optional(text("Modal's own: token secret.", { secret: true })),
  MODAL_ENVIRONMENT: Type.Optional(text("Modal's own: environment of the app. Unset: the default environment.")),
  MODAL_SERVER_URL: Type.Optional(
    text("Modal's own: URL of the control plane. Unset: Modal's.", { pattern: '^https?://[^/]' }),
  ),
  MODAL_CREDENTIALS_GRACE_SECONDS: integer(
    'How long new jobs wait while Modal refuses the credentials, in seconds; then they fail with `backend_rejected`. 0: they fail at once.',
    { default: 120, minimum: 0, maximum: 86_400 },
  ),
  MODAL_INLINE_BYTES: integer(
    'Maximum size of the files of one submit, together, that go with the call, so that it needs no `PUBLIC_URL`; only a function of contract 1 takes them (docs/function.md). Larger ones are fetched from `PUBLIC_URL`; without it they are refused. 0: all are.',
    { default: 32 * MiB, minimum: 0, maximum: 256 * MiB },
  ),
  LOCAL_COMMAND: Type.Optional(
    text(
      'Command that the local backend runs, without a shell; `{face}`, `{audio}`, `{output}`, `{version}` and each parameter (`{bbox_shift}`) are replaced. An argument with a parameter that a job does not set is left out. Unset: ffmpeg.',
    ),
  ),
  LOCAL_MAX_PROCESSES: integer('Maximum child processes of the local backend; further jobs wait.', {
    default: 2,
    minimum: 1,
    maximum: 256,
  }),
  MEDIA_ROOT: text('Folder in which the local backend looks up `video_path` and `audio_path`.', {
    default: './samples',
  }),
  DATA_DIR: text('Folder for the files that the server writes.', { default: './data' }),
  DATA_DIR_SHARED: Type.Boolean({
    default: false,
    description:
      'Whether all replicas share one `DATA_DIR`. With Redis, uploads and `BACKEND=local` need this set to true.',
  }),
  AUTH: Type.Optional(
    choice(
      ['none'],
      '`none` opens the server to everybody. Unset: the variables below decide; without them the server is open, in production an error.',
    ),
  ),
  API_KEYS: Type.Optional(
    text(
      'API keys, comma-separated: `name:sha256:scopes`, as `npm run -s keys -- create NAME` prints them. ` weight=N max_running=N` after the scopes sets the share of the caller: its weight beside others while jobs wait for `MAX_CONCURRENT_JOBS` (1 to 100), and its maximum of running jobs. Without them: weight 1, no maximum.',
      {
        secret: true,
      },
    ),
  ),
  API_KEYS_FILE: Type.Optional(
    text('File with more such keys, one per line, `#` starts a comment. SIGHUP reloads it.'),
  ),
  OIDC_ISSUER: Type.Optional(
    text('OpenID Connect issuer whose access tokens are accepted; must be identical to their `iss`.'),
  ),
  OIDC_AUDIENCE: Type.Optional(text('Audience that the `aud` of these tokens must contain.')),
  OIDC_SHARE: Type.Optional(
    text('Share of each caller with such a token, as in an entry of `API_KEYS`: `weight=2 max_running=4`.'),
  ),
  JOB_STORE: text(
    'Where jobs are stored: `memory` loses them when the process exits, `sqlite:PATH` keeps them in a file, `redis://...` (`rediss://` with TLS) shares them between replicas.',
    { default: 'memory', pattern: '^(memory|sqlite:.+|rediss?://[^\\s/].*)$' },
  ),
  REDIS_URL: Type.Optional(
    text('URL of the Redis that stores the jobs, `redis://...` or `rediss://...`: the same as `JOB_STORE` with it.', {
      secret: true,
    }),
  ),
  REDIS_PREFIX: text('Prefix of every key in Redis; servers with the same prefix share their jobs.', {
    default: 'musetalk',
    pattern: '^[\\w.-]+$',
  }),
  JOB_RETENTION_SECONDS: integer('How long a finished job is kept, in seconds; then it is deleted with its files.', {
    default: 604_800,
    minimum: 1,
    maximum: 315_360_000,
  }),
  USAGE_RETENTION_DAYS: integer('How long the daily sums of usage and cost are kept, in days.', {
    default: 400,
    minimum: 1,
    maximum: 3_660,
  }),
  GPU_PRICE_PER_SECOND: Type.Optional(
    text(
      'What a second of a run costs: a decimal below 1000 with up to nine digits after the point, `0.000222` for instance. It applies to runs that end from now on. Unset: costs are not known.',
      { pattern: '^\\d{1,3}(\\.\\d{1,9})?$' },
    ),
  ),
  GPU_PRICE_CURRENCY: text('The currency of `GPU_PRICE_PER_SECOND`, by ISO 4217.', {
    default: 'USD',
    pattern: '^[A-Z]{3}$',
  }),
  MAX_FINISHED_JOBS: integer(
    'Maximum finished jobs in `memory`, fewer if they fill half of the heap; beyond it the oldest are deleted. 0: no limit.',
    { default: 100_000, minimum: 0, maximum: 100_000_000 },
  ),
  JOB_TIMEOUT_SECONDS: integer(
    'Deadline of a job, in seconds from its acceptance; then it fails with `timed_out`. A submit may set its own.',
    { default: 7200, minimum: 1, maximum: 604800 },
  ),
  RUN_TIMEOUT_SECONDS: Type.Optional(
    Type.Integer({
      description:
        'Maximum duration of a run, in seconds from its start at the backend if the backend reports one; then the job fails with `timed_out`. A submit may set its own. Unset: only the deadline applies.',
      minimum: 1,
      maximum: 604_800,
    }),
  ),
  MAX_ATTEMPTS: integer(
    'Maximum attempts at a job whose runs the backend interrupts; then it fails with `backend_unavailable`.',
    { default: 2, minimum: 1, maximum: 10 },
  ),
  MAX_RETRIES: integer('Maximum retries of one job by its caller; beyond it 409.', {
    default: 100,
    minimum: 1,
    maximum: 10_000,
  }),
  MAX_CONCURRENT_JOBS: integer(
    'Maximum jobs at the backend, of all replicas; further jobs are queued and start by the shares of their callers (see `API_KEYS`). 0: no limit.',
    {
      default: 0,
      minimum: 0,
      maximum: 1_000_000,
    },
  ),
  MAX_QUEUED_JOBS: integer(
    'Maximum jobs accepted but not yet at the backend; beyond it submits answer 503. 0: no limit.',
    {
      default: 100_000,
      minimum: 0,
      maximum: 10_000_000,
    },
  ),
  MAX_ACTIVE_JOBS_PER_CALLER: integer(
    'Maximum unfinished jobs of one caller; beyond it submits answer 429. 0: no limit.',
    {
      default: 0,
      minimum: 0,
      maximum: 1_000_000,
    },
  ),
  INPUT_URL_ALLOWLIST: Type.Optional(
    text('Hosts allowed in input URLs, comma-separated; `*.example.com` matches subdomains. Unset: all.', {
      pattern: `^${HOST_PATTERN}(,${HOST_PATTERN})*$`,
    }),
  ),
  INPUT_URL_ALLOW_PRIVATE: Type.Boolean({
    default: false,
    description: 'Whether inputs may be fetched from private and loopback addresses.',
  }),
  REUSE_RESULTS: Type.Boolean({
    default: false,
    description:
      'Whether a job gets the output of an identical one of its caller, without a run, unless its submit says otherwise by `reuse`.',
  }),
  PREFLIGHT_URLS: Type.Boolean({
    default: false,
    description:
      'Whether a submit reads a few ranges of the files at its URLs, for at most 2 s, to learn what they are. A file that cannot be read is not refused.',
  }),
  MAX_SPEECH_SECONDS: integer(
    'Maximum duration of the speech of a job, in seconds; a longer one is answered 422, if its duration is known. 0: no limit.',
    { default: 0, minimum: 0, maximum: 604_800 },
  ),
  MAX_FACE_PIXELS: integer(
    'Maximum width times height of a face; a larger one is answered 422, if its size is known. The default is 8192 times 4320: H.264 has no larger pictures, and a video is as large as its face. 0: no limit.',
    { default: 8192 * 4320, minimum: 0, maximum: 1_000_000_000 },
  ),
  MAX_UPLOAD_BYTES: integer('Maximum size of all files of one submit together, in bytes; beyond it 413.', {
    default: 512 * MiB,
    minimum: 1024,
    maximum: 64 * 1024 * MiB,
  }),
  UPLOAD_STORE: Type.Optional(
    choice(
      ['s3'],
      'Where files are kept that clients send ahead of a submit (`POST /uploads`): `s3` in the bucket, under `S3_PREFIX` and `uploads/`, for Modal only. Unset: in `DATA_DIR`.',
    ),
  ),
  MAX_CONCURRENT_UPLOADS: integer(
    'Maximum submits with files received at the same time; one caller may have at most as many as remain free, so half if it is alone. Beyond it 503. 0: no limit.',
    { default: 32, minimum: 0, maximum: 100_000 },
  ),
  MAX_INPUT_BYTES: integer(
    'Maximum size of an input of the local backend, in bytes; a larger one fails the job with `input_unavailable`.',
    { default: 512 * MiB, minimum: 1024, maximum: 64 * 1024 * MiB },
  ),
  INPUT_TIMEOUT_SECONDS: integer(
    'Timeout for fetching one input of the local backend, in seconds; then the job fails with `input_unavailable`.',
    { default: 120, minimum: 1, maximum: 3600 },
  ),
  PUBLIC_URL: Type.Optional(
    text(
      'URL at which clients and Modal reach the server, for links and the API reference. Unset: `http://localhost:PORT`.',
      {
        pattern: URL_PATTERN,
      },
    ),
  ),
  OUTPUT_SOURCE: Type.Optional(
    choice(
      ['modal', 'dir', 's3'],
      'Source of the outputs of Modal: `modal` calls the download function, `dir` reads a mounted volume, `s3` redirects. Unset: `modal`. The local backend serves its own files.',
    ),
  ),
  OUTPUT_ROOT: Type.Optional(text("For `dir`: folder where the function's `/shared` is mounted.")),
  OUTPUT_STORE: Type.Optional(
    choice(
      ['s3'],
      'Where outputs are copied once their jobs have succeeded: `s3` to the bucket, under `S3_PREFIX` and `outputs/`, to which readers are then redirected. Unset: nowhere.',
    ),
  ),
  OUTPUT_PREFETCH: Type.Boolean({
    default: false,
    description: 'For `modal`: whether to fetch an output when its job succeeds instead of on the first request.',
  }),
  OUTPUT_CACHE_BYTES: integer(
    'For `modal`: maximum size of the output cache in `DATA_DIR`, in bytes; beyond it the least recently read outputs are deleted. A single larger output is answered 502.',
    { default: 10 * 1024 * MiB, minimum: MiB, maximum: 1024 ** 5 },
  ),
  OUTPUT_URL_TTL_SECONDS: integer(
    'Minimum validity of a link to an output, in seconds; it may be up to a quarter longer.',
    {
      default: 3600,
      minimum: 1,
      maximum: 604_800,
    },
  ),
  SIGNING_SECRET: Type.Optional(
    text(
      'Secrets that sign links, comma-separated: the first signs, all are accepted. Unset: a random one, stored with the jobs.',
      {
        secret: true,
        pattern: '^\\s*[^,\\s][^,]*(,\\s*[^,\\s][^,]*)*$',
      },
    ),
  ),
  S3_ENDPOINT: Type.Optional(
    text('For `s3`: endpoint URL, used with path-style buckets. Unset: AWS in `S3_REGION`.', { pattern: URL_PATTERN }),
  ),
  S3_BUCKET: Type.Optional(text('For `s3`: bucket.', { pattern: '^[\\w.-]+$' })),
  S3_REGION: text('For `s3`: region.', { default: 'us-east-1', pattern: '^[\\w-]+$' }),
  S3_PREFIX: Type.Optional(
    text(
      "For `s3`: prefix of an output's path below `/shared/`, of `uploads/` and of `outputs/`, used as is; end a folder with a slash. Unset: none.",
    ),
  ),
  AWS_ACCESS_KEY_ID: Type.Optional(
    text(
      'For `s3`: access key that may read the outputs, and for `UPLOAD_STORE` and `OUTPUT_STORE` read, write, list and delete what is under their prefixes.',
      { secret: true },
    ),
  ),
  AWS_SECRET_ACCESS_KEY: Type.Optional(text('For `s3`: its secret.', { secret: true })),
  AWS_SESSION_TOKEN: Type.Optional(text('For `s3`: session token of temporary credentials.', { secret: true })),
  WEBHOOK_SECRET: Type.Optional(
    text(
      'Secrets that sign webhooks, comma-separated, the newest first: `whsec_` and the base64 of 24 to 64 bytes. Each webhook is signed with all. Unset: no webhooks.',
      { secret: true },
    ),
  ),
  WEBHOOK_ALLOW_PRIVATE: Type.Boolean({
    default: false,
    description: 'Whether webhooks may be sent to private and loopback addresses.',
  }),
  WEBHOOK_HTTPS_ONLY: Type.Boolean({
    default: false,
    description: 'Whether webhooks may be sent to https URLs only; a submit with another one is answered 400.',
  }),
  OTEL_EXPORTER_OTLP_ENDPOINT: Type.Optional(
    text(
      'Base URL of an OpenTelemetry receiver (OTLP over HTTP, JSON), such as `http://collector:4318`; spans go to `/v1/traces` below it. Unset: nothing is traced.',
      { pattern: URL_PATTERN },
    ),
  ),
  OTEL_EXPORTER_OTLP_HEADERS: Type.Optional(
    text('Headers for the receiver, such as its key: `name=value`, comma-separated, values percent-encoded.', {
      secret: true,
    }),
  ),
  OTEL_SERVICE_NAME: text('Name of this service in traces.', { default: 'musetalk-orchestrator' }),
  OTEL_RESOURCE_ATTRIBUTES: Type.Optional(
    text('Further attributes of this service in traces, such as `deployment.environment=production`, comma-separated.'),
  ),
  OTEL_TRACES_SAMPLER_ARG: text(
    'Share of the traces that start here that is recorded, from 0 to 1. A trace of a client is recorded if its `traceparent` says so.',
    { default: '1', pattern: '^(0|1|0?\\.\\d+|[01]\\.0+)$' },
  ),
  HTTPS_PROXY: Type.Optional(
    text(
      'Proxy for connections to https URLs: webhooks, inputs, Modal and the OIDC issuer. `http://[user:password@]host:port`; it must allow CONNECT to the addresses of the hosts, which the server still checks itself. Unset: direct.',
      { secret: true, pattern: '^http://[^\\s/?#]+/?$' },
    ),
  ),
  HTTP_PROXY: Type.Optional(
    text('Proxy for connections to http URLs, likewise.', { secret: true, pattern: '^http://[^\\s/?#]+/?$' }),
  ),
  NO_PROXY: Type.Optional(
    text(
      'Hosts without a proxy, comma-separated: a name also covers its subdomains; `10.0.0.0/8`, `host:port`; `*`: all. Connections to this machine never use one.',
    ),
  ),
  WEBHOOK_TIMEOUT_SECONDS: integer(
    'Timeout of one delivery attempt, in seconds; then it counts as failed and is retried later.',
    { default: 15, minimum: 1, maximum: 300 },
  ),
})

export type Config = Readonly<Omit<Static<typeof ConfigSchema>, 'BACKEND'>> & {
  readonly BACKEND: BackendName
  /** True when `BACKEND` was not set and no Modal credentials were found, so that `local` was chosen. */
  readonly backendAssumed: boolean
}

/** The settings are invalid; the message names every invalid variable and never shows the value of a secret. */
export class ConfigError extends BootError {
  readonly errors: string[]

  constructor(errors: string[]) {
    super(`The configuration is invalid:\n${errors.map((error) => `  ${error}`).join('\n')}`)
    this.errors = errors
  }
}

/** It runs once, so neither its schema is checked nor its code optimized: both take longer than the rest of it. */
const QUICKLY = { meta: false, validateSchema: false, code: { optimize: false } }
const validate = new Ajv({ useDefaults: true, allErrors: true, strict: false, ...QUICKLY }).compile(ConfigSchema)

/**
 * The secrets, each of which may be in a file that `NAME_FILE` names. `API_KEYS_FILE` is a setting of its own, which is
 * reloaded.
 */
export const SECRETS = Object.entries(ConfigSchema.properties as Record<string, TSchema>).flatMap(([name, schema]) =>
  schema.secret && name !== 'API_KEYS' ? [name] : [],
)

/**
 * Reads and checks the environment, and the files of secrets that it names. An empty variable counts as unset. Throws
 * `ConfigError` with all errors at once.
 */
export function loadConfig(environment: Environment = process.env): Config {
  const { env, errors } = readSecretFiles(withProxies(environment), SECRETS)
  const values = readVariables(env)
  if (/^rediss?:\/\/[^\s/]/.test(env.REDIS_URL ?? '')) values.JOB_STORE ??= env.REDIS_URL
  if (!validate(values)) errors.push(...(validate.errors ?? []).map((error) => describeError(error, env)))
  errors.push(...findErrors(values, env))
  if (errors.length > 0) throw new ConfigError(errors)

  const config = values as Static<typeof ConfigSchema>
  const found = hasModalCredentials(env)
  const backend = backendOf(values, env)
  return Object.freeze({ ...config, BACKEND: backend, backendAssumed: config.BACKEND === undefined && !found })
}

/**
 * Sets what libraries read by themselves: the credentials of Modal, which may have been in files, and the proxies of gRPC
 * and of `fetch`, by which Modal and the OIDC issuer are reached.
 */
export function shareWithLibraries(config: Config, env: Record<string, string | undefined> = process.env): void {
  const { MODAL_TOKEN_ID, MODAL_TOKEN_SECRET, HTTPS_PROXY, HTTP_PROXY, NO_PROXY = '' } = config
  Object.assign(env, MODAL_TOKEN_ID && { MODAL_TOKEN_ID }, MODAL_TOKEN_SECRET && { MODAL_TOKEN_SECRET })
  if (!HTTPS_PROXY && !HTTP_PROXY) return
  // gRPC takes an empty entry for every host.
  const noProxy = [...NO_PROXY.split(/[\s,]+/), ...THIS_MACHINE].filter(Boolean).join()
  const proxies = { https_proxy: HTTPS_PROXY, http_proxy: HTTP_PROXY, no_proxy: noProxy }
  const given = Object.fromEntries(Object.entries(proxies).filter(([, value]) => value))
  Object.assign(env, given)
  process.getBuiltinModule('node:http').setGlobalProxyFromEnv(given)
}

const THIS_MACHINE = ['localhost', '127.0.0.1', '::1']

/** How URLs of callers are reached: through the proxies of the configuration. */
export const proxySettingsOf = ({ HTTPS_PROXY, HTTP_PROXY, NO_PROXY }: Config) => ({
  https: HTTPS_PROXY,
  http: HTTP_PROXY,
  no: NO_PROXY,
})

/** The URL of the S3-compatible store of the outputs. */
export const s3EndpointOf = ({ S3_ENDPOINT, S3_REGION }: Pick<Config, 'S3_ENDPOINT' | 'S3_REGION'>): string =>
  S3_ENDPOINT ?? `https://s3.${S3_REGION}.amazonaws.com`

/** The URL at which clients reach the server, without a trailing slash. */
export const publicUrlOf = ({ PUBLIC_URL }: Pick<Config, 'PUBLIC_URL'>): string | undefined =>
  PUBLIC_URL?.replace(/\/+$/, '')

/**
 * The environment of a child process: what programs need to run, and none of the server's settings, so that
 * `LOCAL_COMMAND` sees no secret.
 */
export function childEnvironment(env: Environment = process.env): Record<string, string> {
  const passed = /^(PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|TZ|TMPDIR|LD_LIBRARY_PATH|VIRTUAL_ENV|HF_HOME)$/
  const families = /^(LC|PYTHON|CONDA|CUDA|NVIDIA|XDG|OMP|TORCH)(_|[A-Z])/
  const entries = Object.entries(env).filter(([name]) => passed.test(name) || families.test(name))
  return Object.fromEntries(entries.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])))
}

/** Node's own flags: those of `NODE_OPTIONS`, then those of the command line, which take precedence. */
export const nodeFlags = (env: Environment = process.env): readonly string[] => [
  ...(env.NODE_OPTIONS ?? '').split(/\s+/).filter(Boolean),
  ...process.execArgv,
]

/** Curl, Go and others read these names in lower case too. */
function withProxies(env: Environment): Environment {
  const { https_proxy: HTTPS_PROXY, http_proxy: HTTP_PROXY, no_proxy: NO_PROXY } = env
  const given = Object.entries(env).filter(([, value]) => value !== '')
  return { HTTPS_PROXY, HTTP_PROXY, NO_PROXY, ...Object.fromEntries(given) }
}

function readVariables(env: Environment): Record<string, unknown> {
  const settings = Object.entries(ConfigSchema.properties as Record<string, TSchema>)
  return Object.fromEntries(
    settings.flatMap(([name, schema]) => (env[name] ? [[name, parseValue(env[name], schema)]] : [])),
  )
}

/** Converts text to the schema's type; text that has another form stays text, and validation refuses it. */
function parseValue(text: string, { type }: TSchema): unknown {
  if (type === 'integer' && /^-?\d{1,15}$/.test(text)) return Number(text)
  if (type === 'boolean' && (text === 'true' || text === 'false')) return text === 'true'
  return text
}

function describeError(error: ErrorObject, env: Environment): string {
  const name = error.instancePath.slice(1)
  const schema: TSchema | undefined = (ConfigSchema.properties as Record<string, TSchema>)[name]
  const allowed = error.keyword === 'enum' ? `: ${(error.params.allowedValues as string[]).join(', ')}` : ''
  const value = schema?.secret || mayContainPassword(env[name]) ? '' : `, got ${JSON.stringify(env[name])}`
  return `${name}: ${error.message ?? 'is not valid'}${allowed}${value}`
}
