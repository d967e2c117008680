import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Outputs } from '../../src/jobs/ports/files.ts'
import { createModalOutputs, type ModalOutputsOptions } from '../../src/files/outputs-modal.ts'
import { aSuccess } from './fake-backend.ts'
import { silentLog } from './log.ts'
import { temporaryFolder } from './media.ts'
import { startApp, type TestApp } from './app.ts'

/** What the outputs of these tests hold: 1,000 bytes, no two parts alike. */
export const VIDEO = Buffer.from(Array.from({ length: 250 }, (_, n) => String(n).padStart(4, '0')).join(''))

type Download = ModalOutputsOptions['download']

/** The outputs of Modal with a download in the test's hand, kept in a folder of the test's own. */
export async function modalOutputs(options: Partial<ModalOutputsOptions> = {}) {
  const dataDir = options.dataDir ?? (await temporaryFolder())
  const runs: string[] = []
  const write: Download = (_run, path) => writeFile(path, VIDEO)
  const { download = write, ...others } = options
  const counted: Download = (run, path, signal) => {
    runs.push(`${run.runId}/${run.version}`)
    return download(run, path, signal)
  }
  const read: ModalOutputsOptions['read'] = (run, _signal, use) => {
    runs.push(`${run.runId}/${run.version} read`)
    return use({ size: VIDEO.length, bytes: piecesOf(VIDEO) })
  }
  const settings = { dataDir, maxBytes: 1_000_000, prefetches: false, log: silentLog(), read, ...others }
  const outputs = createModalOutputs({ ...settings, download: counted })
  return { outputs, runs, folder: join(dataDir, 'outputs') }
}

async function* piecesOf(bytes: Buffer) {
  for (let from = 0; from < bytes.length; from += 300) yield bytes.subarray(from, from + 300)
}

/** The app with outputs. */
export async function startOutputs(outputs: Outputs, options: Parameters<typeof startApp>[0] = {}) {
  const app = await startApp({ ...options, outputs })
  return { ...app, close: async () => (await app.close(), outputs.close()) }
}

/** Submits a job and lets it succeed. */
export async function aSucceededJob(app: Pick<TestApp, 'submit' | 'backend' | 'untilStatus'>, outcome = aSuccess) {
  const { id } = await app.submit()
  await app.untilStatus(id, 'running')
  app.backend.end(`fc-${id}-1`, outcome)
  return app.untilStatus(id, 'succeeded')
}
