import { tmpdir } from 'node:os'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { loadConfig } from '../../src/config/config.ts'
import { createClosers, wire } from '../../src/wiring/wire.ts'
import { recordingLog } from '../helpers/log.ts'

test('a part that fails to close is named in the log, and the parts opened before it close', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'wiring-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const { log, lines } = await recordingLog()
  const key = `studio:${'0'.repeat(64)}:jobs:read`
  const env = { BACKEND: 'local', DATA_DIR: folder, MEDIA_ROOT: folder, API_KEYS: key }
  const wired = await wire(loadConfig(env), log)
  vi.spyOn(wired.outputs, 'close').mockRejectedValue(new Error('the fetch did not end'))
  if (!wired.authenticator) throw new Error('API_KEYS gave no authenticator')
  const closed = vi.spyOn(wired.authenticator, 'close')
  await wired.close()
  expect(lines).toContainEqual(
    expect.objectContaining({ level: 'warn', event: 'not_closed', part: 'outputs', err: expect.anything() as object }),
  )
  expect(closed).toHaveBeenCalledOnce()
})

test('parts close last-in-first-out; one that hangs or rejects is reported, and the others still close', async () => {
  const closed: string[] = []
  const failures: [string, unknown][] = []
  const broken = new Error('the connection broke')
  const { add, closeAll } = createClosers({ timeoutMs: 20, onFailure: (...failure) => failures.push(failure) })
  const closing = (name: string, end: () => Promise<void>) =>
    add(name, {
      close() {
        closed.push(name)
        return end()
      },
    })
  closing('store', () => Promise.resolve())
  closing('queue', () => Promise.reject(broken))
  closing('backend', () => new Promise(() => undefined))
  closing('webhooks', () => Promise.resolve())
  await closeAll()
  expect(closed).toEqual(['webhooks', 'backend', 'queue', 'store'])
  expect(failures).toEqual([
    ['backend', undefined],
    ['queue', broken],
  ])
})
