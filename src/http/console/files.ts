import { readdirSync, readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { PARAMETERS } from '../../jobs/job.ts'
import { Parameters } from '../jobs/submit-schema.ts'

// A process of its own, which writes the modules of the console to stdout: JSON of their paths, compressed, in base64.
// Node strips their types as it does those of the server; in the server that would keep 30 MB.
const files = new Map<string, string>()
const read = (url: URL | string) => readFileSync(typeof url === 'string' ? fileURLToPath(url) : url, 'utf8')

const PAGE = new URL('../../console/', import.meta.url)
const CLIENT = new URL('../../client/', import.meta.url)
const addModule = (path: string, source: string) =>
  files.set(path, stripTypeScriptTypes(source).replaceAll(/[ \t]+$/gm, ''))
for (const name of readdirSync(PAGE)) {
  if (name.endsWith('.ts') && !name.endsWith('.d.ts')) addModule(`page/${name}`, read(new URL(name, PAGE)))
}
/** Of the client's modules those that are only types, or the command line, are not loaded. */
const NOT_LOADED = ['schema.ts', 'cli.ts']
for (const name of readdirSync(CLIENT)) {
  if (name.endsWith('.ts') && !NOT_LOADED.includes(name)) addModule(`client/${name}`, read(new URL(name, CLIENT)))
}

const libraryOf = (name: string) => read(import.meta.resolve(name)).replace(/\n\/\/# sourceMappingURL=.*/, '')
files.set('lib/preact.js', libraryOf('preact'))
files.set('lib/hooks.js', libraryOf('preact/hooks'))
files.set('lib/htm.js', libraryOf('htm'))
files.set('lib/htm-preact.js', libraryOf('htm/preact'))

/** What the form shows of the parameters is what the server accepts. */
const parameters = Object.entries(Parameters.properties).map(([name, schema]) => ({
  name,
  model: PARAMETERS[name as keyof typeof PARAMETERS],
  ...schema,
}))
files.set('lib/api-schema.js', `export const parameters = ${JSON.stringify(parameters)}\n`)

const compressed = [...files].map(([path, text]) => [path, gzipSync(text, { level: 9 }).toString('base64')])
process.stdout.write(JSON.stringify(Object.fromEntries(compressed)))
