import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

/** Runs in a process of its own, whose modules it watches. */
const WATCH = `
  import { registerHooks } from 'node:module'
  const loaded = []
  registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) })
  const { startApp } = await import('./test/helpers/app.ts')
  const app = await startApp()
  await app.get('/healthz')
  const idle = [...loaded]
  await app.get('/openapi.json')
  await app.get('/docs')
  process.stdout.write(JSON.stringify({ idle, asked: loaded }))
`

test('the modules of the reference are loaded by the first request for it, those of its page never', async () => {
  const run = promisify(execFile)
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', WATCH], { maxBuffer: 16e6 })
  const { idle, asked } = JSON.parse(stdout) as { idle: string[]; asked: string[] }
  const isOfReference = (url: string) => /@fastify\/swagger|src\/http\/docs\/(document|openapi)/.test(url)
  expect(idle.some((url) => url.endsWith('src/http/docs/routes.ts'))).toBe(true)
  expect(idle.filter(isOfReference)).toEqual([])
  expect(asked.some(isOfReference)).toBe(true)
  expect(asked.filter((url) => url.includes('@scalar'))).toEqual([])
})
