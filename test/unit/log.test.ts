import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { createLogger } from '../../src/process/log.ts'

async function logged(NODE_ENV: 'development' | 'production', isTTY: boolean): Promise<string> {
  const out = Object.assign(new PassThrough(), { isTTY })
  const log = await createLogger({ LOG_LEVEL: 'info', NODE_ENV }, out)
  log.info({ job_id: 'a-1' }, 'job submitted')
  return String(out.read())
}

test('log lines are JSON with a level name and an RFC 3339 time, pretty only on a terminal in development', async () => {
  for (const line of [await logged('production', true), await logged('development', false)]) {
    expect(JSON.parse(line)).toEqual({
      ...{ level: 'info', msg: 'job submitted', job_id: 'a-1' },
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    })
  }
  const pretty = await logged('development', true)
  expect(pretty).toContain('job submitted')
  expect(() => JSON.parse(pretty) as unknown).toThrow()
})
