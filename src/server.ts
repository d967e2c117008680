import type { Server } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import type { Config } from './config/config.ts'
import { codeOf, messageOf } from './lib/errors.ts'
import { startBoot, finishBoot } from './process/boot.ts'
import type { Wired } from './wiring/wire.ts'

startBoot()
// As early as possible: by default this signal kills the process.
let onHangUp = () => undefined as unknown
process.on('SIGHUP', () => void onHangUp())

const [
  { loadConfig, shareWithLibraries },
  { BootError, isProblem },
  { createLogger },
  { wire },
  { buildApp, httpSettingsOf },
  { openListeners },
  { reasonOf },
  { default: closeWithGrace },
] = await Promise.all([
  import('./config/config.ts'),
  import('./problems.ts'),
  import('./process/log.ts'),
  import('./wiring/wire.ts'),
  import('./app.ts'),
  import('./http/listeners.ts'),
  import('./jobs/log.ts'),
  import('close-with-grace'),
])

/** A terminal and npm both forward Ctrl-C, so one press can arrive twice; repeats within this many ms count once. */
const REPEAT_MS = 1_000

async function main() {
  try {
    const config = loadConfig()
    shareWithLibraries(config)
    await serve(config)
  } catch (error) {
    if (!(error instanceof BootError || isProblem(error, 'store_unavailable'))) throw error
    process.stderr.write(`${describeBootError(error)}\n`)
    process.exit(1)
  }
}

async function serve(config: Config) {
  const log = await createLogger(config)
  const wired = await wire(config, log)
  const app = await buildApp({ ...wired, log, http: httpSettingsOf(config) })
  const isShuttingDown = shutDownOnSignal(config, log, { app, wired })
  const listen = async (listener: Listener, open: (listener: Listener) => Promise<void>) => {
    try {
      await open(listener)
    } catch (error) {
      // A shutdown that started meanwhile closed the listener: that is no error.
      if (isShuttingDown()) return
      const fields = { event: 'listen_failed', port: listener.port, reason: codeOf(error) }
      log.fatal(fields, describeListenError(error, listener))
      await wired.close()
      process.exit(1)
    }
  }
  const { METRICS_HOST, METRICS_PORT } = config
  if (METRICS_PORT !== undefined) {
    const { openMetricsServer } = await import('./http/metrics-server.ts')
    await listen({ host: METRICS_HOST, port: METRICS_PORT, setting: 'METRICS_PORT' }, async (listener) => {
      const port = portOf(await openMetricsServer(wired.metrics, listener))
      log.info({ event: 'metrics_listening', host: METRICS_HOST, port }, 'serving metrics without authentication')
    })
  }
  await listen({ host: config.HOST, port: config.PORT, setting: 'PORT' }, (listener) => openListeners(app, listener))
  if (isShuttingDown()) return
  try {
    await wired.start(portOf(app.server))
  } catch (error) {
    if (isShuttingDown()) return
    const fields = { event: 'jobs_not_read', reason: reasonOf(error) }
    log.fatal(fields, 'cannot read the unfinished jobs from JOB_STORE; exiting')
    await wired.close()
    process.exit(1)
  }
  finishBoot()
}

/** A store can become unavailable between opening it and the first read. */
function describeBootError(error: Error): string {
  return isProblem(error, 'store_unavailable')
    ? `JOB_STORE: the store is unavailable (${reasonOf(error)})`
    : error.message
}

/** The actual port: `PORT=0` picks a free one. */
function portOf(server: Server): number | undefined {
  const address = server.address()
  return typeof address === 'object' ? address?.port : undefined
}

/** `setting`: the one that changes the port. */
type Listener = { readonly host: string; readonly port: number; readonly setting: string }

function describeListenError(error: unknown, { host, port, setting }: Listener): string {
  if (codeOf(error) === 'EADDRINUSE') return `port ${port} on ${host} is in use: stop what uses it, or set ${setting}`
  return `cannot listen on ${host}:${port}: ${messageOf(error)}`
}

type Running = { readonly app: FastifyInstance; readonly wired: Wired }

/** The first SIGTERM or SIGINT starts a graceful shutdown, a later one, after a second, exits at once. Gives whether it has started. */
function shutDownOnSignal(config: Config, log: Logger, { app, wired }: Running) {
  const logger = {
    error: (error: unknown) => log.error({ event: 'shutdown_failed', err: error }, 'graceful shutdown failed; exiting'),
  }
  const { close } = closeWithGrace(
    { delay: config.SHUTDOWN_GRACE_SECONDS * 1000, skip: ['SIGINT', 'SIGTERM', 'SIGHUP'], logger },
    async ({ err }) => {
      if (err) log.fatal({ event: 'uncaught_error', err }, 'uncaught error; shutting down')
      wired.readiness.startShutdown()
      // A hook that fails must not keep the other parts from closing.
      await closeApp(app, config.SHUTDOWN_GRACE_SECONDS * 250).catch((error: unknown) => {
        log.warn(
          { event: 'not_closed', part: 'http', err: error },
          'a part of the server did not close; the others are closed',
        )
      })
      await wired.close()
      log.info({ event: 'server_stopped' }, 'server stopped')
    },
  )
  let firstAt: number | undefined
  const onSignal = (signal: NodeJS.Signals) => {
    if (firstAt === undefined) {
      firstAt = performance.now()
      log.info({ event: 'server_stopping', signal }, 'shutting down')
      close()
    } else if (performance.now() - firstAt > REPEAT_MS) {
      process.exit(1)
    }
  }
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal)
  // SIGHUP reloads the key file; without one it means that the terminal was closed.
  onHangUp = () => (config.API_KEYS_FILE === undefined ? onSignal('SIGHUP') : wired.reload())
  return () => firstAt !== undefined
}

/** How often connections that became idle during the shutdown are closed, in ms. */
const IDLE_CHECK_MS = 100

/** Answers requests in progress; cuts off those that are incomplete or unanswered after `timeoutMs`. */
async function closeApp(app: FastifyInstance, timeoutMs: number) {
  const idleTimer = setInterval(() => app.server.closeIdleConnections(), IDLE_CHECK_MS)
  const timer = setTimeout(() => app.server.closeAllConnections(), timeoutMs)
  await app.close()
  clearTimeout(timer)
  clearInterval(idleTimer)
}

// Last, after all declarations: a shutdown can start while this still waits. `cli/warm.ts` only loads this file.
if (import.meta.main) await main()
