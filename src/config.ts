import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { type Static, type TSchema, Type } from '@sinclair/typebox'
import { Ajv, type ErrorObject } from 'ajv'

const text = (description: string, options: object = {}) => Type.String({ minLength: 1, description, ...options })
const integer = (description: string, range: { default: number; minimum: number; maximum: number }) =>
  Type.Integer({ description, ...range })
const choice = <const T extends string>(names: readonly T[], description: string, options: object = {}) =>
  Type.Unsafe<T>({ type: 'string', enum: names, description, ...options })

const MiB = 1024 * 1024

/** Every environment variable the server reads: at once the type, the parser, the defaults and the README's table. */
export const ConfigSchema = Type.Object({
  HOST: text('Address to listen on.', { default: '0.0.0.0' }),
  PORT: integer('Port to listen on; 0 takes a free one.', { default: 9000, minimum: 0, maximum: 65535 }),
  LOG_LEVEL: choice(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], 'Least severe level logged.', {
    default: 'info',
  }),
  NODE_ENV: choice(['development', 'test', 'production'], '`production` refuses to guess: see `BACKEND`.', {
    default: 'development',
  }),
  BODY_LIMIT_BYTES: integer('Largest JSON body accepted.', { default: 65536, minimum: 1024, maximum: MiB }),
  SHUTDOWN_GRACE_SECONDS: integer('How long a polite end may take.', { default: 8, minimum: 1, maximum: 600 }),
  BACKEND: Type.Optional(
    choice(
      ['modal', 'local'],
      '`modal` runs the deployed GPU function, `local` a child process. Unset: `modal` where Modal credentials are found, else `local`; in production an error.',
    ),
  ),
  MODAL_APP: text('Name of the deployed Modal app.', { default: 'musetalk-poc' }),
  MODAL_FUNCTION: text('Function that runs the inference.', { default: 'run_inference' }),
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
  MODAL_SERVER_URL: Type.Optional(text("Modal's own: another control plane.")),
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
  JOB_STORE: choice(['memory'], 'Where jobs are kept: `memory` loses them with the process.', { default: 'memory' }),
  JOB_TIMEOUT_SECONDS: integer('Time a job has from acceptance to its end.', {
    default: 7200,
    minimum: 1,
    maximum: 604800,
  }),
  MAX_ATTEMPTS: integer('Attempts at a job that the backend interrupts.', { default: 2, minimum: 1, maximum: 10 }),
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
  INPUT_URL_ALLOWLIST: Type.Optional(
    text('Hosts inputs may be fetched from, comma-separated; `*.example.com` for subdomains. Unset: any public host.'),
  ),
  INPUT_URL_ALLOW_PRIVATE: Type.Boolean({
    default: false,
    description: 'Lets inputs be fetched from private and loopback addresses.',
  }),
  MAX_INPUT_BYTES: integer('Largest input the local backend fetches or opens.', {
    default: 512 * MiB,
    minimum: 1024,
    maximum: 64 * 1024 * MiB,
  }),
  INPUT_TIMEOUT_SECONDS: integer('Time the fetch of one input may take.', { default: 120, minimum: 1, maximum: 3600 }),
})

export type Config = Readonly<Omit<Static<typeof ConfigSchema>, 'BACKEND'>> & {
  readonly BACKEND: 'modal' | 'local'
  /** True when `BACKEND` was not set and `local` was taken for want of Modal credentials. */
  readonly backendAssumed: boolean
}

type Environment = Readonly<Record<string, string | undefined>>

/** Settings that cannot be used; the message names every faulty variable, and never shows a secret's value. */
export class ConfigError extends Error {
  readonly faults: string[]

  constructor(faults: string[]) {
    super(`The configuration is not usable:\n${faults.map((fault) => `  ${fault}`).join('\n')}`)
    this.name = 'ConfigError'
    this.faults = faults
  }
}

/** Reads and checks the environment. An empty variable counts as unset. Throws `ConfigError` with all faults at once. */
export function loadConfig(env: Environment = process.env): Config {
  const values = given(env)
  const validate = new Ajv({ coerceTypes: true, useDefaults: true, allErrors: true, strict: false }).compile<
    Static<typeof ConfigSchema>
  >(ConfigSchema)
  const faults = validate(values) ? [] : (validate.errors ?? []).map((error) => describeFault(error, env))

  const credentials = hasModalCredentials(env)
  if (!env.MODAL_TOKEN_ID !== !env.MODAL_TOKEN_SECRET) {
    faults.push('MODAL_TOKEN_ID, MODAL_TOKEN_SECRET: set both or neither')
  }
  if (values.BACKEND === undefined && !credentials && values.NODE_ENV === 'production') {
    faults.push('BACKEND: must be set in production, or give Modal credentials (MODAL_TOKEN_ID, MODAL_TOKEN_SECRET)')
  }
  if (values.BACKEND === 'modal' && !credentials) {
    faults.push('BACKEND: modal needs credentials: set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, or run `modal setup`')
  }
  if (faults.length > 0) throw new ConfigError(faults)

  const config = values as Static<typeof ConfigSchema>
  const backend = config.BACKEND ?? (credentials ? 'modal' : 'local')
  return Object.freeze({ ...config, BACKEND: backend, backendAssumed: config.BACKEND === undefined && !credentials })
}

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

function given(env: Environment): Record<string, unknown> {
  const names = Object.keys(ConfigSchema.properties)
  return Object.fromEntries(names.flatMap((name) => (env[name] ? [[name, env[name]]] : [])))
}

function describeFault(error: ErrorObject, env: Environment): string {
  const name = error.instancePath.slice(1)
  const schema: TSchema | undefined = (ConfigSchema.properties as Record<string, TSchema>)[name]
  const allowed = error.keyword === 'enum' ? `: ${(error.params.allowedValues as string[]).join(', ')}` : ''
  const value = schema?.secret ? '' : `, got ${JSON.stringify(env[name])}`
  return `${name}: ${error.message ?? 'is not valid'}${allowed}${value}`
}

/** Whether Modal's own client will find credentials: in the environment, or in its configuration file. */
function hasModalCredentials(env: Environment): boolean {
  if ((env.MODAL_TOKEN_ID && env.MODAL_TOKEN_SECRET) || env.MODAL_OAUTH_REFRESH_TOKEN) return true
  try {
    const file = readFileSync(env.MODAL_CONFIG_PATH ?? join(homedir(), '.modal.toml'), 'utf8')
    return /^\s*(token_id|oauth_refresh_token)\s*=/m.test(file)
  } catch {
    return false
  }
}
