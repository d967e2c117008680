import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startApp } from './helpers/app.ts'
import { as, knownCallers } from './helpers/callers.ts'

// Takes the reference from the shipped application, open and with authentication, and has Redocly look at both. In its
// strict rules a warning is an error.
const folder = mkdtempSync(join(tmpdir(), 'reference-'))
const files: string[] = []
for (const [name, options] of Object.entries({ open: {}, guarded: { authenticator: knownCallers } })) {
  // The document names its server, and the rules dislike one that is local.
  const app = await startApp({ ...options, http: { publicUrl: 'https://jobs.lip-sync.dev' } })
  const { statusCode, body } = await app.app.inject({ method: 'GET', url: '/openapi.json', headers: as('nothing') })
  if (statusCode !== 200) throw new Error(body)
  files.push(join(folder, `${name}.json`))
  writeFileSync(join(folder, `${name}.json`), body)
  await app.close()
}
const { status, stdout, stderr, error } = spawnSync('redocly', ['lint', '--extends', 'recommended-strict', ...files], {
  // Nothing of this is anybody else's business, and it works without a network.
  env: { ...process.env, REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' },
  encoding: 'utf8',
})
if (status !== 0) process.stderr.write(`${stdout}${stderr}${error?.message ?? ''}`)
rmSync(folder, { recursive: true })
process.exitCode = status ?? 1
