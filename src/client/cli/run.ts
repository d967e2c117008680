import { readFileSync } from 'node:fs'
import { createClient } from '../index.ts'
import { batch } from './batch.ts'
import { EXIT_CODES, exitCodeOf, messageOf, UsageError } from './failures.ts'
import { cancel, list, logs } from './jobs.ts'
import type { Command, OpenSession } from './options.ts'
import { createReport, type Output } from './report.ts'
import { submit, wait } from './submit.ts'

const COMMANDS: Readonly<Record<string, Command>> = { submit, batch, wait, list, logs, cancel }

const HELP = `Usage: musetalk COMMAND [options]

Makes lip-sync videos with a MuseTalk Orchestrator server.

${Object.entries(COMMANDS)
  .map(([name, { summary }]) => `  ${name.padEnd(8)}${summary}`)
  .join('\n')}

musetalk COMMAND --help describes a command; musetalk --version prints the version.

Environment: MUSETALK_URL, the server (http://localhost:9000); MUSETALK_API_KEY, an API key or access token.

Exit codes: ${EXIT_CODES.ok} done; ${EXIT_CODES.jobFailed} a job failed or was canceled; ${EXIT_CODES.wrongUsage} the command, a file or the request is wrong;
${EXIT_CODES.serverRefused} the server is unreachable or refuses; ${EXIT_CODES.fileNotWritten} an output cannot be written; 130 interrupted (Ctrl-C); 143 terminated.`

const DEFAULT_URL = 'http://localhost:9000'
/** Repetitions by the client of a failed request: an unreachable server is reported after about a second. */
const RETRIES = 3

/** What the command line needs of its process. */
export type Surroundings = {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly stdout: Output
  readonly stderr: Output
  /** Aborted by a signal, with its exit code as the reason. */
  readonly signal: AbortSignal
}

/** Runs a command; resolves with the exit code. Errors are a line on stderr. */
export async function run(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const { env, stdout, stderr, signal } = surroundings
  let url = env.MUSETALK_URL ?? DEFAULT_URL
  let report = createReport(surroundings, false)
  const open: OpenSession = (options) => {
    url = options.url ?? url
    report = createReport(surroundings, options.json === true)
    return { client: openClient(url, env.MUSETALK_API_KEY), url, report, signal }
  }
  const [name = '', ...rest] = args
  try {
    if (name === '--version') stdout.write(`${versionOfPackage()}\n`)
    else if (['', 'help', '--help', '-h'].includes(name)) (name === '' ? stderr : stdout).write(`${HELP}\n`)
    else if (isHelp(rest)) stdout.write(`${commandOf(name).help}\n`)
    else await commandOf(name).run(rest, open)
    return name === '' ? EXIT_CODES.wrongUsage : EXIT_CODES.ok
  } catch (error) {
    if (signal.aborted) return Number(signal.reason)
    report.warn(messageOf(error, url, Boolean(env.MUSETALK_API_KEY)))
    if (error instanceof UsageError && Object.hasOwn(COMMANDS, name)) stderr.write(`See musetalk ${name} --help.\n`)
    return exitCodeOf(error)
  }
}

const isHelp = (args: readonly string[]) => args.some((arg) => arg === '--help' || arg === '-h')

function commandOf(name: string): Command {
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (!command) throw new UsageError(`there is no command ${name}; see musetalk --help`)
  return command
}

function openClient(url: string, apiKey: string | undefined) {
  try {
    return createClient({ baseUrl: url, retries: RETRIES, ...(apiKey && { apiKey }) })
  } catch {
    throw new UsageError(`${url} is not the URL of a server; set MUSETALK_URL, such as ${DEFAULT_URL}`)
  }
}

function versionOfPackage(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}
