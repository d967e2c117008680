import { access, constants, mkdir, realpath } from 'node:fs/promises'
import { dirname, isAbsolute, relative, resolve, sep } from 'node:path'
import type { Logger } from 'pino'
import { childEnvironment, type Config, ConfigError, proxySettingsOf } from '../config/config.ts'
import type { JobInput } from '../jobs/job.ts'
import type { Backend } from '../jobs/ports/backend.ts'
import type { MediaReader } from '../jobs/ports/files.ts'
import type { Metrics } from '../jobs/ports/metrics.ts'
import { messageOf } from '../lib/errors.ts'
import { createOnce } from '../lib/concurrency.ts'
import type { Resolve } from '../net/resolver.ts'
import { createProxyRule } from '../net/proxy.ts'
import type { UrlRule } from '../net/url-rule.ts'
import { isFolder, sqlitePathOf } from './storage.ts'

type BackendDependencies = { readonly log: Logger; readonly metrics: Metrics }

/** Opens the backend of new jobs, as `BACKEND` says. */
export async function openBackend(config: Config, resolve: Resolve, parts: BackendDependencies): Promise<Backend> {
  const urlRule = urlRuleOf(config)
  switch (config.BACKEND) {
    case 'modal':
      return openModal(config, urlRule.allowlist, parts)
    case 'local':
      return openLocal(config, { resolve, urlRule, log: parts.log })
    default:
      return config.BACKEND satisfies never
  }
}

/** Where inputs may be fetched from. */
const urlRuleOf = (config: Config): UrlRule => ({
  allowPrivate: config.INPUT_URL_ALLOW_PRIVATE,
  allowlist: config.INPUT_URL_ALLOWLIST?.split(',').map((host) => host.trim()),
  proxyOf: createProxyRule(proxySettingsOf(config)),
})

/** Opens the reader of what inputs are: uploads, the paths of the local backend, and URLs if `PREFLIGHT_URLS` is set. */
export async function openMediaReader(config: Config, resolveHost: Resolve): Promise<MediaReader> {
  const { createMediaReader } = await import('../files/media.ts')
  const openGuard = async () => (await import('../net/guard.ts')).createGuard(urlRuleOf(config), resolveHost)
  const locate = async (field: 'video_path' | 'audio_path', path: string) => {
    const { resolveUnder } = await import('../backend/local/inputs.ts')
    return resolveUnder(resolve(config.MEDIA_ROOT), field, path)
  }
  return createMediaReader({
    locate: config.BACKEND === 'local' ? locate : undefined,
    guard: config.PREFLIGHT_URLS ? await openGuard() : undefined,
  })
}

type LocalDependencies = { readonly resolve: Resolve; readonly urlRule: UrlRule; readonly log: Logger }

async function openLocal(config: Config, { resolve, urlRule, log }: LocalDependencies): Promise<Backend> {
  const { createLocalBackend } = await import('../backend/local/backend.ts')
  await checkFolders(config)
  return createLocalBackend({
    dataDir: config.DATA_DIR,
    mediaRoot: config.MEDIA_ROOT,
    maxProcesses: config.LOCAL_MAX_PROCESSES,
    maxInputBytes: config.MAX_INPUT_BYTES,
    downloadTimeoutMs: config.INPUT_TIMEOUT_SECONDS * 1000,
    urlRule,
    childEnvironment: childEnvironment(),
    command: config.LOCAL_COMMAND,
    resolve,
    log,
  })
}

/** Delay after which Modal's client is loaded even without a job, in ms. */
const MODAL_LOAD_DELAY_MS = 1_000

async function openModal(
  config: Config,
  allowlist: UrlRule['allowlist'],
  { log, metrics }: BackendDependencies,
): Promise<Backend> {
  const { checkModalInput } = await import('../backend/modal/check.ts')
  const check = (input: JobInput) => checkModalInput(input, allowlist)
  const backend = deferBackend({ name: 'modal', check }, async () => {
    const { createModalBackend } = await import('../backend/modal/backend.ts')
    return createModalBackend({
      app: config.MODAL_APP,
      functionName: config.MODAL_FUNCTION,
      maxConnections: config.MODAL_MAX_CONNECTIONS,
      pollsPerConnection: config.MODAL_POLLS_PER_CONNECTION,
      maxPollsPerSecond: config.MODAL_MAX_POLLS_PER_SECOND,
      maxPollIntervalMs: config.MODAL_MAX_POLL_INTERVAL_SECONDS * 1000,
      inlineBytes: config.MODAL_INLINE_BYTES,
      hasPublicUrl: config.PUBLIC_URL !== undefined,
      credentialsGraceMs: config.MODAL_CREDENTIALS_GRACE_SECONDS * 1000,
      check,
      log,
      metrics,
    })
  })
  // Soon, to warn about a function that is not deployed, but not now, so that the server is ready sooner.
  const loadFailed = (error: unknown) =>
    log.error({ event: 'modal_not_loaded', err: error }, "cannot set up Modal's client; the next job will retry")
  const timer = setTimeout(() => void backend.load().catch(loadFailed), MODAL_LOAD_DELAY_MS).unref()
  const close = () => {
    clearTimeout(timer)
    return backend.close()
  }
  return { ...backend, close }
}

/** Checks the folders of the local backend at boot, before the first job needs them. */
async function checkFolders({ MEDIA_ROOT, DATA_DIR, JOB_STORE }: Config): Promise<void> {
  const errors: string[] = []
  const hasMedia = await isFolder(MEDIA_ROOT)
  if (!hasMedia) errors.push(`MEDIA_ROOT: ${MEDIA_ROOT} is not a folder`)
  try {
    await mkdir(DATA_DIR, { recursive: true })
    await access(DATA_DIR, constants.W_OK)
  } catch (error) {
    errors.push(`DATA_DIR: ${DATA_DIR} cannot be written to (${messageOf(error)})`)
  }
  const path = sqlitePathOf({ JOB_STORE })
  if (path !== undefined && hasMedia && (await isInside(dirname(path), MEDIA_ROOT))) {
    errors.push(`JOB_STORE: ${path} lies in MEDIA_ROOT, where jobs read their inputs; keep it elsewhere`)
  }
  if (errors.length > 0) throw new ConfigError(errors)
}

/** By real path; creates the folder if it does not exist. */
async function isInside(folder: string, root: string): Promise<boolean> {
  await mkdir(folder, { recursive: true })
  const path = relative(await realpath(root), await realpath(folder))
  return path.split(sep)[0] !== '..' && !isAbsolute(path)
}

/** A backend whose code is loaded on first use, so that it does not delay the server's start. */
export type DeferredBackend = Backend & {
  /** Loads it now, unless it is loaded. Rejects if that fails; the next use tries again. */
  load(): Promise<Backend>
}

/** Wraps the backend that `open` creates. `name` and `check` are needed before it is loaded; then its own `check` knows more. */
export function deferBackend(known: Pick<Backend, 'name' | 'check'>, open: () => Promise<Backend>): DeferredBackend {
  let current: Backend | undefined
  const opened = createOnce(async () => (current = await open()))
  const load = opened.get
  return {
    name: known.name,
    check: (input, parameters) => (current ?? known).check(input, parameters),
    load,
    spawn: async (request, signal) => (await load()).spawn(request, signal),
    // Thousands of calls are waited for: each async function on the way takes memory for as long.
    wait: (callId, signal, subscriber) =>
      current?.wait(callId, signal, subscriber) ?? load().then((backend) => backend.wait(callId, signal, subscriber)),
    stop: async (callId, signal) => (await load()).stop(callId, signal),
    async *logs(call, signal) {
      yield* (await load()).logs(call, signal)
    },
    health: () => current?.health() ?? {},
    async close() {
      await (await opened.current?.catch(() => undefined))?.close()
    },
  }
}

/** Reports as gauges how many jobs of this process are at the backend, and why it is degraded. */
export function measureBackend(backend: Backend, metrics: Pick<Metrics, 'registerGauges'>): Backend {
  let inFlight = 0
  const leave = () => {
    inFlight--
  }
  metrics.registerGauges({
    jobs_in_flight: () => inFlight,
    backend_up: () => Number([undefined, 'throttled'].includes(backend.health().degraded)),
    backend_degraded: () => backend.health().degraded,
  })
  return {
    ...backend,
    wait(callId, signal, subscriber) {
      inFlight++
      const outcome = backend.wait(callId, signal, subscriber)
      outcome.then(leave, leave)
      return outcome
    },
  }
}
