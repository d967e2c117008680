import type { Logger } from 'pino'
import type { Backend } from './backend/port.ts'
import { childEnvironment, type Config } from './config.ts'
import { createEmitterBus } from './events/emitter.ts'
import { createReconciler } from './jobs/reconciler.ts'
import { createRunner } from './jobs/runner.ts'
import { createService, type JobService } from './jobs/service.ts'
import { createStopper } from './jobs/stopper.ts'
import { createInProcessQueue } from './queue/in-process.ts'
import type { JobStore } from './store/port.ts'

export type Wired = {
  readonly service: JobService
  /** Begins to run jobs: those left unfinished, and those that come. Call it once the server listens. */
  start(): Promise<void>
  /** Closes everything that was opened, last opened first. Idempotent. */
  close(): Promise<void>
}

/** Picks the adapters the configuration asks for and joins them to the core. The only file that knows modes exist. */
export async function wire(config: Config, log: Logger): Promise<Wired> {
  const closers: (() => Promise<void>)[] = []
  const opened = <T extends { close(): Promise<void> }>(part: T): T => {
    closers.unshift(() => part.close())
    return part
  }

  if (config.backendAssumed) log.warn(ASSUMED_LOCAL)
  const store = opened(await openStore(config, log))
  const events = opened(createEmitterBus(log))
  const backend = opened(await openBackend(config, log))
  const queue = opened(createInProcessQueue({ log, maxRunning: config.MAX_CONCURRENT_JOBS || undefined }))
  const service = createService({
    ...{ store, queue, events, backend, log },
    timeoutSeconds: config.JOB_TIMEOUT_SECONDS,
    maxQueuedJobs: config.MAX_QUEUED_JOBS || undefined,
  })
  const stopper = createStopper(backend, service)
  const reconciler = opened(createReconciler({ store, queue, service, stopper, log }))

  const run = createRunner({ store, service, backend, stopper, maxAttempts: config.MAX_ATTEMPTS })

  let closing: Promise<void> | undefined
  const closeAll = async () => {
    for (const close of closers) await close()
  }
  return {
    service,
    async start() {
      await queue.start(run)
      await reconciler.start()
    },
    close: () => (closing ??= closeAll()),
  }
}

/** How long after the wiring Modal's client is loaded where no job needs it before, in ms. */
const MODAL_LOAD_DELAY_MS = 1_000

const ASSUMED_LOCAL =
  'no Modal credentials were found: jobs run on the local backend, which muxes face and speech and moves no lips ' +
  '(set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, or BACKEND=local to silence this)'

async function openStore(_config: Config, log: Logger): Promise<JobStore> {
  const { createMemoryStore } = await import('./store/memory.ts')
  const store = createMemoryStore()
  const close = async () => {
    for await (const job of store.owed('run', Date.now())) {
      const fields = {
        job_id: job.id,
        status: job.status,
        call_ids: job.attempts.flatMap(({ callId }) => callId ?? []),
      }
      log.warn(fields, 'an unfinished job is forgotten: JOB_STORE=memory keeps nothing beyond the process')
    }
    await store.close()
  }
  return { ...store, close }
}

async function openBackend(config: Config, log: Logger): Promise<Backend> {
  if (config.BACKEND === 'modal') {
    const { deferBackend } = await import('./backend/deferred.ts')
    const backend = deferBackend({ name: 'modal', check: () => [] }, async () => {
      const { createModalBackend } = await import('./backend/modal.ts')
      return createModalBackend({
        app: config.MODAL_APP,
        functionName: config.MODAL_FUNCTION,
        maxConnections: config.MODAL_MAX_CONNECTIONS,
        pollsPerConnection: config.MODAL_POLLS_PER_CONNECTION,
        log,
      })
    })
    // Soon even without a job, to warn of a function that is not deployed; not now, to be ready sooner.
    const loadFailed = (error: unknown) => log.error({ err: error }, "Modal's client cannot be set up")
    setTimeout(() => void backend.load().catch(loadFailed), MODAL_LOAD_DELAY_MS).unref()
    return backend
  }
  const { createLocalBackend } = await import('./backend/local.ts')
  const hosts = config.INPUT_URL_ALLOWLIST?.split(',').map((host) => host.trim().toLowerCase())
  return createLocalBackend({
    dataDir: config.DATA_DIR,
    mediaRoot: config.MEDIA_ROOT,
    maxProcesses: config.LOCAL_MAX_PROCESSES,
    maxInputBytes: config.MAX_INPUT_BYTES,
    downloadTimeoutMs: config.INPUT_TIMEOUT_SECONDS * 1000,
    urlRule: { allowPrivate: config.INPUT_URL_ALLOW_PRIVATE, ...(hosts && { allowlist: hosts }) },
    childEnvironment: childEnvironment(),
    ...(config.LOCAL_COMMAND !== undefined && { command: config.LOCAL_COMMAND }),
    log,
  })
}
