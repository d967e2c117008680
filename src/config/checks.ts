import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { parseOrigins, parseTrustedProxies } from './address-lists.ts'
import { issuerUrlFault } from './issuer-url.ts'
import { parseEntryList, repeatFaults } from './key-format.ts'
import { parseCommand } from './command-template.ts'
import { parseWebhookSecrets } from './webhook-secrets.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** What is wrong with settings that the schema lets pass one by one: with their parts, and with each other. */
export function joinedFaults(values: Readonly<Record<string, unknown>>, env: Environment): string[] {
  return [
    ...backendFaults(values, env),
    ...outputFaults(values, env),
    ...replicaFaults(values, env),
    ...textFaults(env),
    ...authFaults(env),
    ...issuerFaults(env),
  ]
}

/** Only an explicit choice, or credentials, decide on a backend in production; half a credential is a mistake anywhere. */
function backendFaults({ BACKEND, NODE_ENV }: Record<string, unknown>, env: Environment): string[] {
  const found = hasModalCredentials(env)
  const guessed = BACKEND === undefined && !found && NODE_ENV === 'production'
  return [
    ...(!env.MODAL_TOKEN_ID !== !env.MODAL_TOKEN_SECRET
      ? ['MODAL_TOKEN_ID, MODAL_TOKEN_SECRET: set both or neither']
      : []),
    ...(guessed ? ['BACKEND: must be set in production, or give MODAL_TOKEN_ID and MODAL_TOKEN_SECRET'] : []),
    ...(BACKEND === 'modal' && !found
      ? ['BACKEND: modal needs credentials: set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, or run `modal setup`']
      : []),
  ]
}

/** Where jobs run where nothing is wrong: what is said, else Modal where there are credentials. */
export const backendOf = ({ BACKEND }: Readonly<Record<string, unknown>>, env: Environment): 'modal' | 'local' =>
  BACKEND === 'modal' || (BACKEND === undefined && hasModalCredentials(env)) ? 'modal' : 'local'

/** Whether other servers may have the same jobs. */
export const hasReplicas = ({ JOB_STORE }: { readonly JOB_STORE?: unknown }): boolean =>
  /^rediss?:/.test(String(JOB_STORE))

/** What one replica has made, any other must be able to hand out. */
function replicaFaults(values: Readonly<Record<string, unknown>>, env: Environment): string[] {
  const isAlone = !hasReplicas(values) || values.DATA_DIR_SHARED === true
  if (isAlone || backendOf(values, env) === 'modal') return []
  return [
    'DATA_DIR_SHARED: the local backend with Redis needs a DATA_DIR that all replicas share, and this set to true',
  ]
}

/** Each source of outputs has settings that it cannot do without. */
function outputFaults(values: Readonly<Record<string, unknown>>, env: Environment): string[] {
  const source = values.OUTPUT_SOURCE
  if (backendOf(values, env) === 'local') {
    const isOwn = source === undefined || source === 'dir'
    return isOwn ? [] : ['OUTPUT_SOURCE: the local backend serves its own outputs; leave it unset']
  }
  const needed = NEEDED_BY_SOURCE[String(source)] ?? []
  const missing = needed.filter((name) => values[name] === undefined)
  return missing.map((name) => `${name}: OUTPUT_SOURCE=${String(source)} needs it`)
}

const NEEDED_BY_SOURCE: Readonly<Record<string, readonly string[]>> = {
  dir: ['OUTPUT_ROOT'],
  s3: ['S3_BUCKET', 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'],
}

/** Something before an @ may be a password; where it begins and ends cannot be told of what is not valid. */
export const mayHoldPassword = (text = ''): boolean => text.includes('@')

/** Settings with a form of their own; their parsers throw what is wrong. */
const PARSERS = {
  JOB_STORE: parseJobStore,
  LOCAL_COMMAND: parseCommand,
  CORS_ORIGINS: parseOrigins,
  TRUST_PROXY: parseTrustedProxies,
  WEBHOOK_SECRET: parseWebhookSecrets,
}

/** Of the forms that the schema lets pass only a URL has parts that can be wrong. */
function parseJobStore(text: string): void {
  if (!/^rediss?:/.test(text)) return
  const url = URL.parse(text)
  if (!url?.hostname) throw new Error('is not a URL of a Redis: redis://[user:password@]host[:port][/database]')
  if (!/^(\/\d*)?$/.test(url.pathname)) throw new Error('must end with the number of a database, or with the host')
}

function textFaults(env: Environment): string[] {
  return Object.entries(PARSERS).flatMap(([name, parse]) => {
    try {
      if (env[name]) parse(env[name])
      return []
    } catch (error) {
      const words = error instanceof Error ? error.message : String(error)
      return [`${name}: ${mayHoldPassword(env[name]) ? 'is not valid' : words}`]
    }
  })
}

const WAYS_IN = ['API_KEYS', 'API_KEYS_FILE', 'OIDC_ISSUER', 'OIDC_AUDIENCE']

/** Nobody may be let in by mistake: an open server in production is an explicit choice, and keys beside it another mistake. */
function authFaults(env: Environment): string[] {
  const ways = WAYS_IN.filter((name) => env[name])
  const { entries, faults } = parseEntryList(env.API_KEYS ?? '')
  const isEmpty = env.API_KEYS && entries.length + faults.length === 0
  return [
    ...(isEmpty ? ['API_KEYS: holds no entry'] : []),
    ...[...faults, ...repeatFaults(entries)],
    ...(env.AUTH === 'none' && ways.length > 0 ? [`AUTH, ${ways.join(', ')}: choose one: none lets everybody in`] : []),
    ...(!env.AUTH && ways.length === 0 && env.NODE_ENV === 'production' ? [`AUTH: ${WAY_NEEDED}`] : []),
  ]
}

const WAY_NEEDED =
  'in production, say who may come in: set API_KEYS or API_KEYS_FILE, or OIDC_ISSUER and OIDC_AUDIENCE; ' +
  'or AUTH=none to let everybody in'

function issuerFaults({ OIDC_ISSUER, OIDC_AUDIENCE }: Environment): string[] {
  const fault = OIDC_ISSUER ? issuerUrlFault(OIDC_ISSUER) : undefined
  return [
    ...(fault === undefined ? [] : [`OIDC_ISSUER: ${fault}`]),
    ...(!OIDC_ISSUER !== !OIDC_AUDIENCE ? ['OIDC_ISSUER, OIDC_AUDIENCE: set both or neither'] : []),
  ]
}

/** Whether Modal's own client will find credentials: in the environment, or in its configuration file. */
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
