import { tmpdir } from 'node:os'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { loadConfig } from '../../src/config/config.ts'
import { wire } from '../../src/wiring/wire.ts'
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
