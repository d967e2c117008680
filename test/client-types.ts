import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import openapiTS, { astToString, type OpenAPI3 } from 'openapi-typescript'
import ts from 'typescript'
import { startApp } from './helpers/app.ts'
import { as, knownCallers } from './helpers/callers.ts'
import { referenceOf } from './helpers/reference.ts'

// Makes the types of the client from the reference of the shipped application, the one with authentication, which says
// more. With `--check` it writes nothing and fails where the file says otherwise.
const FILE = fileURLToPath(new URL('../src/client/schema.ts', import.meta.url))
const HEAD = '// Made from the reference of the server by `npm run client:types`. Do not edit.\n\n'

const app = await startApp({ authenticator: knownCallers })
const reference = await referenceOf(app, as('nothing'))
await app.close()
const types = await openapiTS(reference as unknown as OpenAPI3, {
  rootTypes: true,
  rootTypesNoSchemaPrefix: true,
  // Files are given as such.
  transform: ({ format }) => (format === 'binary' ? ts.factory.createTypeReferenceNode('Blob') : undefined),
})
const text = HEAD + astToString(types)
if (!process.argv.includes('--check')) writeFileSync(FILE, text)
else if (readFileSync(FILE, 'utf8') !== text) {
  process.stderr.write('src/client/schema.ts is not what the server says of itself: npm run client:types\n')
  process.exitCode = 1
}
