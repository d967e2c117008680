import { parseArgs } from 'node:util'
import { digestOf, formatEntry, makeKey, checkKeyName, parseScopes } from '../config/formats.ts'

const USAGE = `Usage: npm run -s keys -- create NAME [--scopes jobs:read,jobs:write]

Prints a new API key and its entry for API_KEYS (or line for API_KEYS_FILE).
The key is shown only once: the entry contains just its digest.`

const DEFAULT_SCOPES = 'jobs:read,jobs:write'

/** The command line is invalid; the message is for its user. */
class UsageError extends Error {}

try {
  process.stdout.write(run(process.argv.slice(2)))
} catch (error) {
  if (!(error instanceof Error)) throw error
  process.stderr.write(`${error.message}\n\n${USAGE}\n`)
  process.exitCode = 2
}

function run(args: string[]): string {
  const { positionals, values } = parseArgs({
    args,
    allowPositionals: true,
    options: { scopes: { type: 'string', default: DEFAULT_SCOPES }, help: { type: 'boolean', short: 'h' } },
  })
  if (values.help) return `${USAGE}\n`
  const [command, name, ...more] = positionals
  if (command !== 'create') throw new UsageError('The only command is create.')
  if (name === undefined || more.length > 0) throw new UsageError('Give the key one name.')
  const error = checkKeyName(name)
  if (error !== undefined) throw new UsageError(`The name ${error}.`)
  const scopes = parseScopes(values.scopes.split(','))
  if (typeof scopes === 'string') throw new UsageError(`--scopes: ${scopes}.`)
  const key = makeKey()
  return `key=${key}\nAPI_KEYS=${formatEntry({ name, digest: digestOf(key), scopes })}\n`
}
