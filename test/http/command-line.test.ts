import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { run } from '../../src/client/cli/run.ts'
import { knownCallers } from '../helpers/callers.ts'
import { connected, running } from '../helpers/client.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { temporaryFolder } from '../helpers/media.ts'
import { until } from '../helpers/until.ts'

/** A command with what it has written so far, and its exit code in the end. */
function start(args: readonly string[], env: Record<string, string>, isTTY = false) {
  const written = { stdout: '', stderr: '' }
  const output = (name: 'stdout' | 'stderr') => ({ isTTY, write: (text: string) => void (written[name] += text) })
  const signal = new AbortController().signal
  const code = run(args, { env, stdout: output('stdout'), stderr: output('stderr'), signal })
  return { written, code }
}

test('musetalk logs -f prints each line once, over a broken connection and an interrupted attempt', async () => {
  const all = await connected()
  const { app, relay } = all
  const finished = new AbortController()
  app.backend.logsWith = async function* ({ callId }) {
    yield `${callId.slice(-1)}: first\n`
    yield `${callId.slice(-1)}: second\n`
    if (callId.endsWith('-1')) await until(() => finished.signal.aborted, 'the end of the first attempt')
  }
  const id = await running(all)
  const { written, code } = start(['logs', '-f', id], { MUSETALK_URL: relay.url })
  const opened = () => relay.sent.match(/GET \S*\/logs/g)?.length ?? 0
  await until(() => written.stdout.endsWith('second\n'), 'the log')
  relay.cut()
  await until(() => opened() === 2, 'a new connection')
  app.backend.end(`fc-${id}-1`, { kind: 'interrupted', error: 'the container died' })
  finished.abort()
  await until(() => written.stdout.endsWith('2: second\n'), 'the log of the second attempt')
  app.backend.end(`fc-${id}-2`, aSuccess)
  expect(await code).toBe(0)
  expect(written).toEqual({ stdout: '1: first\n1: second\n2: first\n2: second\n', stderr: '' })
})

test('musetalk wait shows on a terminal how far a run is, as its log has it', async () => {
  const all = await connected()
  all.app.backend.logsWith = async function* () {
    yield '{"musetalk": {"step": "landmarks", "done": 40, "total": 200}}\n'
  }
  const id = await running(all)
  const { written, code } = start(['wait', id], { MUSETALK_URL: all.relay.url }, true)
  await until(() => written.stderr.includes('[====>               ]  20 % landmarks, '), 'the progress')
  all.app.backend.end(`fc-${id}-1`, aSuccess)
  expect(await code).toBe(0)
  expect(written.stderr).toMatch(new RegExp(`job ${id}: succeeded\n$`))
})

test('musetalk stops a batch at a refused credential, without trying each row', async () => {
  const { relay } = await connected({ authenticator: knownCallers })
  const folder = await temporaryFolder()
  writeFileSync(join(folder, 'jobs.csv'), 'face,speech\nserver:a,server:b\nserver:a,server:c\n')
  const args = ['batch', join(folder, 'jobs.csv'), '--out', join(folder, 'out')]
  const { written, code } = start(args, { MUSETALK_URL: relay.url, MUSETALK_API_KEY: 'nobody' })
  expect(await code).toBe(3)
  expect(written.stderr).toBe(
    'musetalk: the server refuses the credential; set MUSETALK_API_KEY to a valid key (unauthorized)\n',
  )
  expect(relay.sent.match(/^(GET|POST) /gm)).toHaveLength(1)
})

test('musetalk without a key names the setting for it where the server needs one', async () => {
  const { relay } = await connected({ authenticator: knownCallers })
  for (const args of [['list'], ['cancel', '00000000-0000-7000-8000-000000000000']]) {
    const { written, code } = start(args, { MUSETALK_URL: relay.url })
    expect(await code).toBe(3)
    expect(written.stderr).toBe('musetalk: the server needs a key: set MUSETALK_API_KEY\n')
  }
})

test('musetalk cancel goes on after a job that it cannot cancel, and exits with 3', async () => {
  const all = await connected()
  const { app, relay } = all
  const [first, last] = [await running(all), await running(all)]
  const unknown = '00000000-0000-7000-8000-000000000000'
  const { written, code } = start(['cancel', first, unknown, last], { MUSETALK_URL: relay.url })
  expect(await code).toBe(3)
  expect(written.stdout).toBe(`${first} canceled\n${last} canceled\n`)
  const [reason, summary] = written.stderr.split('\n')
  expect(reason).toMatch(new RegExp(`^musetalk: ${unknown}: .+`))
  expect(summary).toBe('musetalk: 1 of 3 jobs could not be canceled')
  for (const id of [first, last]) await app.untilStatus(id, 'canceled')
})

test('musetalk cancel --json gives an object for each job, also for one that it cannot cancel', async () => {
  const all = await connected()
  const id = await running(all)
  const { written, code } = start(['cancel', 'unknown', id, '--json'], { MUSETALK_URL: all.relay.url })
  expect(await code).toBe(3)
  const objects = written.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as object)
  expect(objects).toMatchObject([
    { job_id: 'unknown', error: expect.any(String) },
    { job_id: id, status: 'canceled' },
  ])
})
