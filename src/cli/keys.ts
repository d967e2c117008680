import { parseArgs } from 'node:util'
import { digestOf, formatEntry, makeKey, nameFault, parseScopes } from '../config/key-format.ts'

const USAGE = `Usage: npm run -s keys -- create NAME [--scopes jobs:read,jobs:write]

Prints a new API key, and the entry of API_KEYS (or line of API_KEYS_FILE) that lets it in.
The key is shown this once: the entry holds only its digest.`

const DEFAULT_SCOPES = 'jobs:read,jobs:write'

/** What the command was asked wrongly, in words for whoever typed it. */
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
  if (command !== 'create') throw new UsageError('The one thing this command can do is to create a key.')
  if (name === undefined || more.length > 0) throw new UsageError('A key has one name.')
  const fault = nameFault(name)
  if (fault !== undefined) throw new UsageError(`The name ${fault}.`)
  const scopes = parseScopes(values.scopes.split(','))
  if (typeof scopes === 'string') throw new UsageError(`--scopes: ${scopes}.`)
  const key = makeKey()
  return `key=${key}\nAPI_KEYS=${formatEntry({ name, digest: digestOf(key), scopes })}\n`
}
