import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import {
  checkIssuerUrl,
  parseOrigins,
  parsePairs,
  parseTrustedProxies,
  parseCommand,
  parseWebhookSecrets,
  parseEntryList,
  findDuplicateKeys,
  findShareConflicts,
  parseShare,
} from './formats.ts'
import { BACKEND_NAMES, type BackendName } from '../jobs/job.ts'
import { codeOf, messageOf } from '../lib/errors.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** Checks what the schema cannot: formats with a parser of their own, and combinations of settings. One sentence each. */
export function findErrors(values: Readonly<Record<string, unknown>>, env: Environment): string[] {
  return [
    ...checkBackend(values, env),
    ...checkOutputSource(values, env),
    ...checkUploadStore(values, env),
    ...checkOutputStore(values),
    ...checkReplicas(values, env),
    ...(env.JOB_STORE && env.REDIS_URL ? ['JOB_STORE, REDIS_URL: set one of them'] : []),
    ...checkFormats(env),
    ...checkAuth(env),
    ...checkIssuer(env),
  ]
}

/**
 * Adds the settings whose values are in files: `NAME_FILE` has the path, and the last line break does not count (the
 * convention of Docker's and Kubernetes' secrets). One sentence for each that cannot be read.
 */
export function readSecretFiles(env: Environment, names: readonly string[]) {
  const errors: string[] = []
  const read = names.flatMap((name) => {
    const path = env[`${name}_FILE`]
    if (!path) return []
    if (env[name]) errors.push(`${name}, ${name}_FILE: set one of them`)
    try {
      const value = readFileSync(path, 'utf8').replace(/\r?\n$/, '')
      if (value === '') errors.push(`${name}_FILE: the file is empty`)
      return [[name, value]]
    } catch (error) {
      errors.push(`${name}_FILE: the file cannot be read (${codeOf(error) ?? messageOf(error)})`)
      return []
    }
  })
  return { env: { ...env, ...(Object.fromEntries(read) as Environment) }, errors }
}

/** In production the backend must be explicit, by `BACKEND` or by credentials. Half a credential is always an error. */
function checkBackend({ BACKEND, NODE_ENV }: Record<string, unknown>, env: Environment): string[] {
  const found = hasModalCredentials(env)
  const isGuess = BACKEND === undefined && !found && NODE_ENV === 'production'
  return [
    ...(!env.MODAL_TOKEN_ID !== !env.MODAL_TOKEN_SECRET
      ? ['MODAL_TOKEN_ID, MODAL_TOKEN_SECRET: set both or neither']
      : []),
    ...(isGuess ? ['BACKEND: must be set in production, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET'] : []),
    ...(BACKEND === 'modal' && !found
      ? ['BACKEND: modal needs credentials: set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, or run `modal setup`']
      : []),
  ]
}

/** The backend of new jobs: `BACKEND`, else `modal` if credentials are found, else `local`. */
export const backendOf = ({ BACKEND }: { readonly BACKEND?: unknown }, env: Environment): BackendName =>
  BACKEND_NAMES.find((name) => name === BACKEND) ?? (hasModalCredentials(env) ? 'modal' : 'local')

/** Whether other servers may share the jobs. */
export const hasReplicas = ({ JOB_STORE }: { readonly JOB_STORE?: unknown }): boolean =>
  /^rediss?:/.test(String(JOB_STORE))

/** Every replica must be able to serve a file that another one wrote. */
function checkReplicas(values: Readonly<Record<string, unknown>>, env: Environment): string[] {
  const isAlone = !hasReplicas(values) || values.DATA_DIR_SHARED === true
  if (isAlone || backendOf(values, env) === 'modal') return []
  return [
    'DATA_DIR_SHARED: the local backend with Redis needs a DATA_DIR that all replicas share; then set this to true',
  ]
}

/** Each source of outputs has required settings. */
function checkOutputSource(values: Readonly<Record<string, unknown>>, env: Environment): string[] {
  const source = values.OUTPUT_SOURCE
  if (backendOf(values, env) === 'local') {
    const isAllowed = source === undefined || source === 'dir'
    return isAllowed ? [] : ['OUTPUT_SOURCE: the local backend serves its own outputs; unset it']
  }
  const required = REQUIRED_BY_SOURCE[String(source)] ?? []
  const missing = required.filter((name) => values[name] === undefined)
  return missing.map((name) => `${name}: OUTPUT_SOURCE=${String(source)} needs it`)
}

/** The local backend reads its inputs from the disk, which all of its replicas share. */
function checkUploadStore(values: Readonly<Record<string, unknown>>, env: Environment): string[] {
  if (values.UPLOAD_STORE !== 's3') return []
  if (backendOf(values, env) === 'local') return ['UPLOAD_STORE: the local backend keeps uploads in DATA_DIR; unset it']
  return requireBucket(values, 'UPLOAD_STORE')
}

function checkOutputStore(values: Readonly<Record<string, unknown>>): string[] {
  if (values.OUTPUT_STORE !== 's3') return []
  const isThere = values.OUTPUT_SOURCE === 's3'
  return isThere ? [OUTPUTS_IN_BUCKET] : requireBucket(values, 'OUTPUT_STORE')
}

const OUTPUTS_IN_BUCKET = 'OUTPUT_STORE: with OUTPUT_SOURCE=s3 the outputs are in a bucket already; unset it'

function requireBucket(values: Readonly<Record<string, unknown>>, by: string): string[] {
  const missing = REQUIRED_BY_SOURCE.s3?.filter((name) => values[name] === undefined) ?? []
  return missing.map((name) => `${name}: ${by}=s3 needs it`)
}

const REQUIRED_BY_SOURCE: Readonly<Record<string, readonly string[]>> = {
  dir: ['OUTPUT_ROOT'],
  s3: ['S3_BUCKET', 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'],
}

/** Text before an @ may be a password; in an invalid value it cannot be located, so the whole value is hidden. */
export const mayContainPassword = (text = ''): boolean => text.includes('@')

/** Settings with a format of their own; each parser throws a sentence for the operator. */
const PARSERS = {
  JOB_STORE: parseJobStore,
  REDIS_URL: parseRedisUrl,
  LOCAL_COMMAND: parseCommand,
  CORS_ORIGINS: parseOrigins,
  TRUST_PROXY: parseTrustedProxies,
  WEBHOOK_SECRET: parseWebhookSecrets,
  OTEL_EXPORTER_OTLP_HEADERS: parsePairs,
  OTEL_RESOURCE_ATTRIBUTES: parsePairs,
  OIDC_SHARE: parseShare,
}

/** The schema's pattern covers the other forms; a URL has more parts that can be invalid. */
function parseJobStore(text: string): void {
  if (/^rediss?:/.test(text)) parseRedisUrl(text)
}

function parseRedisUrl(text: string): void {
  const url = URL.parse(text)
  if (!url?.hostname || !/^rediss?:$/.test(url.protocol)) {
    throw new Error('is not a Redis URL: redis://[user:password@]host[:port][/database]')
  }
  if (!/^(\/\d*)?$/.test(url.pathname)) throw new Error('must end with the host or with the number of a database')
}

function checkFormats(env: Environment): string[] {
  return Object.entries(PARSERS).flatMap(([name, parse]) => {
    try {
      if (env[name]) parse(env[name])
      return []
    } catch (error) {
      const message = messageOf(error)
      return [`${name}: ${mayContainPassword(env[name]) ? 'is not valid' : message}`]
    }
  })
}

const AUTH_SETTINGS = ['API_KEYS', 'API_KEYS_FILE', 'OIDC_ISSUER', 'OIDC_AUDIENCE']

/** An open server in production must be explicit; `AUTH=none` beside keys or an issuer is a mistake anywhere. */
function checkAuth(env: Environment): string[] {
  const used = AUTH_SETTINGS.filter((name) => env[name])
  const { entries, errors } = parseEntryList(env.API_KEYS ?? '')
  const isEmpty = env.API_KEYS && entries.length + errors.length === 0
  return [
    ...(isEmpty ? ['API_KEYS: contains no entry'] : []),
    ...[...errors, ...findDuplicateKeys(entries), ...findShareConflicts(entries)],
    ...(env.AUTH === 'none' && used.length > 0 ? [`AUTH, ${used.join(', ')}: choose one: none opens the server`] : []),
    ...(!env.AUTH && used.length === 0 && env.NODE_ENV === 'production' ? [`AUTH: ${AUTH_REQUIRED}`] : []),
  ]
}

const AUTH_REQUIRED =
  'authentication is required in production: set API_KEYS or API_KEYS_FILE, or OIDC_ISSUER and OIDC_AUDIENCE; ' +
  'or AUTH=none to open the server to everybody'

function checkIssuer({ OIDC_ISSUER, OIDC_AUDIENCE, OIDC_SHARE }: Environment): string[] {
  const error = OIDC_ISSUER ? checkIssuerUrl(OIDC_ISSUER) : undefined
  return [
    ...(error === undefined ? [] : [`OIDC_ISSUER: ${error}`]),
    ...(OIDC_SHARE && !OIDC_ISSUER ? ['OIDC_SHARE: there are no such callers without OIDC_ISSUER'] : []),
    ...(!OIDC_ISSUER !== !OIDC_AUDIENCE ? ['OIDC_ISSUER, OIDC_AUDIENCE: set both or neither'] : []),
  ]
}

/** Whether Modal's client will find credentials in the environment or in its configuration file. */
export function hasModalCredentials(env: Environment): boolean {
  if ((env.MODAL_TOKEN_ID && env.MODAL_TOKEN_SECRET) || env.MODAL_OAUTH_REFRESH_TOKEN) return true
  const path = env.MODAL_CONFIG_PATH === '' ? undefined : env.MODAL_CONFIG_PATH
  try {
    const file = readFileSync(path ?? join(homedir(), '.modal.toml'), 'utf8')
    return /^\s*(token_id|oauth_refresh_token)\s*=/m.test(file)
  } catch {
    return false
  }
}
