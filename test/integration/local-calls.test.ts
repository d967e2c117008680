import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { RunTimes } from '../../src/jobs/job.ts'
import { createSemaphore } from '../../src/lib/concurrency.ts'
import { createWorkFolders } from '../../src/backend/local/run.ts'
import { OUTCOMES_KEPT } from '../../src/backend/local/backend.ts'
import { never, SAMPLES, silent, startLocal, temporaryFolder, videoOf } from '../helpers/media.ts'
import { until } from '../helpers/until.ts'

const INPUT = { video_path: 'face.mp4', audio_path: 'speech.wav' }
const LOST = { kind: 'interrupted', error: 'The process that ran the job is gone.' }

/** A backend whose command says that it started and ends with a video as soon as the test lets it. */
async function startHeld(maxProcesses = 1) {
  const folder = await temporaryFolder()
  const [log, go, script] = ['log', 'go', 'held.mjs'].map((name) => join(folder, name)) as [string, string, string]
  const face = JSON.stringify(join(SAMPLES, 'face.mp4'))
  writeFileSync(log, '')
  writeFileSync(
    script,
    `import fs from 'node:fs'
    const [output, log, go] = process.argv.slice(2)
    fs.appendFileSync(log, '+')
    const timer = setInterval(() => {
      if (!fs.existsSync(go)) return
      clearInterval(timer); fs.copyFileSync(${face}, output); fs.appendFileSync(log, '-')
    }, 5)`,
  )
  const command = `"${process.execPath}" "${script}" {output} "${log}" "${go}"`
  return {
    ...(await startLocal({ command, maxProcesses })),
    /** A + for each start, a - for each end, in order. */
    history: () => readFileSync(log, 'utf8'),
    letGo: () => writeFileSync(go, ''),
  }
}

describe('a call', () => {
  test('returns an id at once, and can be waited for more than once', async () => {
    const { backend, spawn, letGo, dataDir } = await startHeld()
    const callId = await spawn(INPUT, 'a-job')
    expect(callId).toMatch(/^local-[0-9a-f]{8}-a-job-1$/)
    const waits = [backend.wait(callId, never), backend.wait(callId, never)]
    letGo()
    const outputPath = join(dataDir, 'results', 'a-job-1', 'v15', 'output.mp4')
    const outcome = { kind: 'succeeded', outputPath, runId: 'a-job-1' }
    expect(await Promise.all([...waits, backend.wait(callId, never)])).toEqual([outcome, outcome, outcome])
  })

  test('reports how long its inputs, its wait for a process and its run took, also to later waits', async () => {
    const { backend, spawn, letGo, history } = await startHeld(1)
    const first = await spawn(INPUT, 'first')
    await until(() => history() === '+', 'the first run')
    const second = await spawn(INPUT, 'second')
    const heldAt = performance.now()
    await new Promise((resolve) => setTimeout(resolve, 150))
    const heldMs = performance.now() - heldAt
    letGo()
    const timesOf = async (callId: string) => {
      const known: RunTimes[] = []
      const onTimes = (times: RunTimes) => void known.push(times)
      await backend.wait(callId, never, { isNeeded: false, onStart: () => undefined, onTimes })
      expect(known).toHaveLength(1)
      return known[0]!
    }
    const [one, two] = [await timesOf(first), await timesOf(second)]
    const tookMs = performance.now() - heldAt
    expect(one.runMs).toBeGreaterThanOrEqual(heldMs)
    // The second call may still have read its inputs when the wait began.
    expect(two.queuedMs).toBeGreaterThan(0)
    expect((two.startupMs ?? 0) + (two.queuedMs ?? 0)).toBeGreaterThanOrEqual(heldMs)
    for (const { startupMs = NaN, queuedMs = NaN, runMs = NaN } of [one, two]) {
      expect(Math.min(startupMs, queuedMs, runMs)).toBeGreaterThanOrEqual(0)
      expect(runMs).toBeLessThan(tookMs + 5_000)
    }
    expect(await timesOf(first)).toEqual(one)
  })

  test('reports its start when its child process starts, also to later waits', async () => {
    const { backend, spawn, letGo, history } = await startHeld(1)
    const starts: [string, number][] = []
    const wait = (callId: string) =>
      backend.wait(callId, never, { isNeeded: false, onStart: (at) => starts.push([callId, at]) })
    const spawnedAt = Date.now()
    const first = await spawn(INPUT, 'first')
    const waits = [wait(first)]
    await until(() => history() === '+')
    const second = await spawn(INPUT, 'second')
    waits.push(wait(second))
    expect(starts.map(([callId]) => callId)).toEqual([first])
    waits.push(wait(first))
    await until(() => starts.length === 2)
    letGo()
    await Promise.all(waits)
    expect(starts.map(([callId]) => callId)).toEqual([first, first, second])
    for (const [, at] of starts) expect(at).toBeGreaterThanOrEqual(spawnedAt - 1_000)
    expect(starts[2]![1]).toBeGreaterThan(starts[0]![1])
  })

  test('continues when a wait for it is aborted', async () => {
    const { backend, spawn, letGo, history } = await startHeld()
    const callId = await spawn(INPUT)
    const stop = new AbortController()
    const wait = backend.wait(callId, stop.signal)
    const reason = new Error('aborted by the test')
    stop.abort(reason)
    await expect(wait).rejects.toBe(reason)
    await expect(backend.wait(callId, stop.signal)).rejects.toBe(reason)
    letGo()
    videoOf(await backend.wait(callId, never))
    expect(history()).toBe('+-')
  })

  test('runs once, however often the same attempt is spawned', async () => {
    const { backend, spawn, letGo, history } = await startHeld(2)
    const [first, second] = [await spawn(INPUT, 'a'), await spawn(INPUT, 'a')]
    letGo()
    videoOf(await backend.wait(first, never))
    expect([second, await spawn(INPUT, 'a')]).toEqual([first, first])
    expect(history()).toBe('+-')
  })

  test('of an earlier process is interrupted, unless its video exists', async () => {
    const first = await startHeld()
    const { dataDir } = first
    const unfinished = await first.spawn(INPUT, 'unfinished')
    await until(() => first.history() === '+', 'the start of the command')
    await first.backend.close()
    const spawnedV1 = { jobId: 'finished', attempt: 2, caller: 'anonymous', input: INPUT, version: 'v1' } as const
    const earlier = await startLocal({ dataDir })
    const spawned = await earlier.backend.spawn(spawnedV1, never)
    const finished = spawned.kind === 'spawned' ? spawned.callId : ''
    const outputPath = videoOf(await earlier.backend.wait(finished, never))
    expect(outputPath).toBe(join(dataDir, 'results', 'finished-2', 'v1', 'output.mp4'))

    const { backend } = await startLocal({ dataDir })
    expect(await backend.wait(finished, never)).toEqual({ kind: 'succeeded', outputPath, runId: 'finished-2' })
    expect(await backend.wait(unfinished, never)).toEqual(LOST)
    for (const callId of ['', 'fc-123', 'local-x', 'local-00-../../finished-2', finished.replace(/2$/, '1')]) {
      expect(await backend.wait(callId, never)).toEqual(LOST)
    }
    await backend.stop(finished, never)
    await backend.stop('fc-unknown', never)
  })

  test('that is stopped while it waits for a process slot never starts', async () => {
    const { backend, spawn, letGo, history } = await startHeld(1)
    const running = await spawn(INPUT)
    await until(() => history() === '+', 'the start of the command')
    const waiting = await spawn(INPUT)
    await backend.stop(waiting, never)
    letGo()
    videoOf(await backend.wait(running, never))
    expect(await backend.wait(waiting, never)).toMatchObject({ kind: 'interrupted' })
    expect(history()).toBe('+-')
  })

  test('that is stopped while it downloads aborts the download', async () => {
    const server = createServer((_request, response) => void response.write('RIFF'))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    const asked = once(server, 'request') as Promise<[unknown, ServerResponse]>
    const { backend, spawn, workFolders } = await startLocal()
    const { port } = server.address() as AddressInfo
    const callId = await spawn({ video_path: 'face.mp4', audio_url: `http://127.0.0.1:${port}/speech.wav` })
    const [, response] = await asked
    const cut = once(response, 'close')
    await backend.stop(callId, never)
    await cut
    expect(await backend.wait(callId, never)).toMatchObject({ kind: 'interrupted' })
    expect(await workFolders()).toEqual([])
  })

  test('is not forgotten when its stop is aborted', async () => {
    const { backend, spawn, letGo } = await startHeld()
    const callId = await spawn(INPUT)
    await expect(backend.stop(callId, AbortSignal.abort(new Error('aborted by the test')))).rejects.toThrow(
      'aborted by the test',
    )
    letGo()
    expect(await backend.wait(callId, never)).toMatchObject({ kind: 'interrupted' })
  })

  test('that this machine cannot carry out is interrupted, and the log says why', async () => {
    const folder = await temporaryFolder()
    writeFileSync(join(folder, 'file'), '')
    const error = vi.fn()
    const { run } = await startLocal({ dataDir: join(folder, 'file'), log: { ...silent, error }, pauseMs: 1 })
    expect(await run(INPUT)).toEqual({
      kind: 'interrupted',
      error: 'The local backend failed; the log of the server says why.',
    })
    expect(error).toHaveBeenCalledExactlyOnceWith(
      expect.objectContaining({
        job_id: 'job-1',
        attempt: 1,
        err: expect.objectContaining({ code: 'ENOTDIR' }) as unknown,
      }),
      expect.any(String),
    )
  })

  test('is rejected by a closed backend, and with an aborted signal', async () => {
    const { backend, spawn } = await startLocal()
    const request = { jobId: 'a', attempt: 1, caller: 'anonymous', input: INPUT, version: 'v15' } as const
    await expect(backend.spawn(request, AbortSignal.abort(new Error('too late')))).rejects.toThrow('too late')
    await Promise.all([backend.close(), backend.close()])
    await expect(spawn(INPUT)).rejects.toThrow('the local backend is closed')
  })

  test('is remembered among the last OUTCOMES_KEPT', async () => {
    const { backend, spawn } = await startLocal({ command: 'no-such-program {output}', mediaRoot: '/nowhere' })
    const callIds: string[] = []
    for (let job = 0; job <= OUTCOMES_KEPT; job++) {
      const callId = await spawn(INPUT, `job-${job}`)
      await backend.wait(callId, never)
      callIds.push(callId)
    }
    expect(await backend.wait(callIds[0] ?? '', never)).toEqual(LOST)
    expect(await backend.wait(callIds[1] ?? '', never)).toMatchObject({ kind: 'failed', code: 'input_unavailable' })
  })
})

describe('children', () => {
  test('are never more than allowed at the same time', async () => {
    const { backend, spawn, letGo, history } = await startHeld(2)
    const callIds = [await spawn(INPUT), await spawn(INPUT), await spawn(INPUT), await spawn(INPUT)]
    await until(() => history() === '++', 'the start of two commands')
    letGo()
    for (const callId of callIds) videoOf(await backend.wait(callId, never))
    let [now, most] = [0, 0]
    for (const sign of history()) {
      now += sign === '+' ? 1 : -1
      most = Math.max(most, now)
    }
    expect({ now, most }).toEqual({ now: 0, most: 2 })
  })

  test("take turns among callers: one caller's run starts second after five of another", async () => {
    const { backend, spawn, run, letGo, history } = await startHeld(1)
    const started: string[] = []
    const ends: Promise<unknown>[] = []
    const start = async (jobId: string, caller: string) => {
      const callId = await spawn(INPUT, jobId, caller)
      ends.push(backend.wait(callId, never, { isNeeded: false, onStart: () => started.push(caller) }))
    }
    await start('a-1', 'a')
    await until(() => history() === '+', 'the start of the first run')
    for (const jobId of ['a-2', 'a-3', 'a-4', 'a-5']) await start(jobId, 'a')
    await start('b-1', 'b')
    // Inputs of runs that came later have been looked at by now, so those above wait for their places.
    for (let n = 0; n < 5; n++) await run({ ...INPUT, audio_path: 'missing.wav' })
    letGo()
    await Promise.all(ends)
    expect(started).toEqual(['a', 'b', 'a', 'a', 'a', 'a'])
  })

  test('get their slots in the order in which they asked', async () => {
    const slots = createSemaphore(1)
    const order: string[] = []
    const gate = Promise.withResolvers<undefined>()
    const aborted = new AbortController()
    const task = (name: string) => async () => {
      order.push(name)
      await gate.promise
    }
    const all = [
      slots.use(never, task('first')),
      slots.use(never, task('second')),
      slots.use(aborted.signal, task('aborted by the test')).catch(String),
      slots.use(never, async () => Promise.reject(new Error('failed'))).catch(String),
      slots.use(never, task('third')),
    ]
    aborted.abort('aborted by the test')
    gate.resolve(undefined)
    expect(await Promise.all(all)).toEqual([undefined, undefined, 'aborted by the test', 'Error: failed', undefined])
    expect(order).toEqual(['first', 'second', 'third'])
  })

  test.each([0, 1, 2, 3, 4, 5, 6, 7])('pass a place on that comes while giving up, %i ticks apart', async (ticks) => {
    const slots = createSemaphore(1)
    const first = Promise.withResolvers<undefined>()
    const aborted = new AbortController()
    const holding = slots.use(never, () => first.promise)
    const late = slots.use(aborted.signal, async () => 'ran').catch(String)
    const last = slots.use(never, async () => 'last ran')
    first.resolve(undefined)
    for (let tick = 0; tick < ticks; tick++) await Promise.resolve()
    aborted.abort('aborted by the test')
    await holding
    expect(['ran', 'aborted by the test']).toContain(await late)
    expect(await last).toBe('last ran')
  })
})

test('files that killed processes left in the working folder are removed, and nothing else', async () => {
  const root = await temporaryFolder()
  const dead = `${hostname()}-999999999-1`
  const samePid = `${hostname()}-${process.pid}-1`
  const alive = `${hostname()}-1-1`
  const foreign = `elsewhere-999999999-1`
  for (const name of [dead, samePid, alive, foreign, 'notes']) mkdirSync(join(root, name, 'run'), { recursive: true })
  const name = await createWorkFolders(root).use('run', async (folder) => {
    expect(readdirSync(folder)).toEqual([])
    writeFileSync(join(folder, 'file'), '')
    return folder
  })
  expect(existsSync(name)).toBe(false)
  const left = readdirSync(root).filter((folder) => !name.includes(folder))
  expect(left.sort()).toEqual([alive, foreign, 'notes'].sort())
})
