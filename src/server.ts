import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import type { Config } from './config/config.ts'
import { codeOf, messageOf } from './lib/errors.ts'
import { beginBoot, endBoot } from './process/boot.ts'
import type { Wired } from './wiring/wire.ts'

beginBoot()
// From the first moment on: by default this signal ends the process.
let onHangUp = () => undefined as unknown
process.on('SIGHUP', () => void onHangUp())

const [
  { loadConfig },
  { BootError, isProblem },
  { createLogger },
  { wire },
  { buildApp },
  { httpSettingsOf },
  { reasonOf },
  { default: closeWithGrace },
] = await Promise.all([
  import('./config/config.ts'),
  import('./problems.ts'),
  import('./process/log.ts'),
  import('./wiring/wire.ts'),
  import('./app.ts'),
  import('./http/settings.ts'),
  import('./jobs/log.ts'),
  import('close-with-grace'),
])

/** A terminal and npm both pass Ctrl-C on, so one press can arrive twice; repeats within this many ms are one. */
const REPEAT_MS = 1_000

async function main() {
  try {
    await serve(loadConfig())
  } catch (error) {
    if (!(error instanceof BootError || isProblem(error, 'store_unavailable'))) throw error
    process.stderr.write(`${bootFault(error)}\n`)
    process.exit(1)
  }
}

async function serve(config: Config) {
  const log = await createLogger(config)
  const wired = await wire(config, log)
  const app = await buildApp({ ...wired, log, http: httpSettingsOf(config) })
  const isEnding = endOnSignal(config, log, { app, wired })
  try {
    await app.listen({
      host: config.HOST,
      port: config.PORT,
      listenTextResolver: (address) => `listening at ${address}`,
    })
  } catch (error) {
    // What was closed while it began is at no fault, and the end is under way.
    if (isEnding()) return
    log.fatal(listenFault(error, config))
    await wired.close()
    process.exit(1)
  }
  if (isEnding()) return
  try {
    await wired.start(portOf(app))
  } catch (error) {
    if (isEnding()) return
    log.fatal({ reason: reasonOf(error) }, 'the unfinished jobs cannot be read from the store that JOB_STORE names')
    await wired.close()
    process.exit(1)
  }
  endBoot()
}

/** A store can go between the moment in which it is opened and the first that is asked of it. */
function bootFault(error: Error): string {
  return isProblem(error, 'store_unavailable') ? `JOB_STORE: the store has gone (${reasonOf(error)})` : error.message
}

/** The one it really listens on: `PORT=0` takes any. */
function portOf(app: FastifyInstance): number | undefined {
  const address = app.server.address()
  return typeof address === 'object' ? address?.port : undefined
}

function listenFault(error: unknown, { HOST, PORT }: Config): string {
  if (codeOf(error) === 'EADDRINUSE') return `port ${PORT} on ${HOST} is in use: stop what uses it, or set PORT`
  return `cannot listen on ${HOST}:${PORT}: ${messageOf(error)}`
}

/** The first SIGTERM or SIGINT ends politely, within the grace; a later one ends at once. Gives whether the end has begun. */
function endOnSignal(config: Config, log: Logger, { app, wired }: { app: FastifyInstance; wired: Wired }) {
  const logger = { error: (fault: unknown) => log.error({ err: fault }, 'the server does not end as it should') }
  const { close } = closeWithGrace(
    { delay: config.SHUTDOWN_GRACE_SECONDS * 1000, skip: ['SIGINT', 'SIGTERM', 'SIGHUP'], logger },
    async ({ err }) => {
      if (err) log.fatal({ err }, 'the process is in an unknown state and ends')
      wired.readiness.startShutdown()
      // A hook that fails must not keep what is below the HTTP server from closing.
      await closeApp(app, config.SHUTDOWN_GRACE_SECONDS * 250).catch((error: unknown) => {
        log.warn(
          { event: 'not_closed', part: 'http', err: error },
          'a part of the server did not close; the others are closed',
        )
      })
      await wired.close()
      log.info('the server has ended')
    },
  )
  let firstAt: number | undefined
  const onSignal = (signal: NodeJS.Signals) => {
    if (firstAt === undefined) {
      firstAt = performance.now()
      log.info({ signal }, 'the server is ending')
      close()
    } else if (performance.now() - firstAt > REPEAT_MS) {
      process.exit(1)
    }
  }
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal)
  // A file of keys is read again; a terminal that is closed ends a server that has none.
  onHangUp = () => (config.API_KEYS_FILE === undefined ? onSignal('SIGHUP') : wired.reload())
  return () => firstAt !== undefined
}

/** How often connections are closed that have become idle since the end began, such as after a download, in ms. */
const IDLE_CHECK_MS = 100

/** Requests under way are answered; one that is not whole or not answered after `patienceMs` is cut off. */
async function closeApp(app: FastifyInstance, patienceMs: number) {
  const idleTimer = setInterval(() => app.server.closeIdleConnections(), IDLE_CHECK_MS)
  const timer = setTimeout(() => app.server.closeAllConnections(), patienceMs)
  await app.close()
  clearTimeout(timer)
  clearInterval(idleTimer)
}

// Last, when all above is there: the end can begin while this still waits.
await main()
