import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { createPathFilter, createRunLogs, LOG_KEPT_BYTES } from '../../src/backend/local/run-logs.ts'
import type { LocalOptions } from '../../src/backend/local/backend.ts'
import type { Backend } from '../../src/jobs/ports/backend.ts'
import { ffmpegs } from '../helpers/ffmpeg.ts'
import { makeMedia, never, SAMPLES, silent, startLocal, temporaryFolder, videoOf } from '../helpers/media.ts'
import { watchProgress } from '../helpers/progress.ts'
import { until } from '../helpers/until.ts'

const INPUT = { video_path: 'face.mp4', audio_path: 'speech.wav' }
const WRITE_VIDEO = `fs.copyFileSync(${JSON.stringify(join(SAMPLES, 'face.mp4'))}, output);`

/** A backend whose command is a Node program, with `print` and `signal(name)`, which waits for a signal of the test. */
async function command(program: string, options: Partial<LocalOptions> = {}) {
  const folder = await temporaryFolder()
  const script = join(folder, 'program.mjs')
  writeFileSync(
    script,
    `import fs from 'node:fs'
    import { setTimeout as sleep } from 'node:timers/promises'
    const [output, face, audio] = process.argv.slice(2)
    const print = (text) => fs.writeSync(2, text)
    const signal = async (word) => { while (!fs.existsSync(${JSON.stringify(folder)} + '/' + word)) await sleep(5) }
    ${program}`,
  )
  const local = await startLocal({ command: `"${process.execPath}" "${script}" {output} {face} {audio}`, ...options })
  const read = async (callId: string) => {
    let text = ''
    for await (const piece of local.backend.logs({ callId, startedAt: 0 }, never)) text += piece
    return text
  }
  return {
    ...local,
    folder,
    read,
    signal: (word: string) => writeFileSync(join(folder, word), ''),
    /** The log of a run, once it has ended. */
    async logOf() {
      const callId = await local.spawn(INPUT)
      const outcome = await local.backend.wait(callId, never)
      return { outcome, text: await read(callId) }
    },
  }
}

/** Reads on in the background: what has come so far, and how it ended. */
function follow({ backend }: { readonly backend: Backend }, callId: string, signal = never) {
  const seen = { text: '' }
  const read = async () => {
    for await (const piece of backend.logs({ callId, startedAt: 0 }, signal)) seen.text += piece
    return seen.text
  }
  return { seen, end: read() }
}

describe('the log of a command', () => {
  test('is streamed while it runs, to every reader from the start, until it exits', async () => {
    const local = await command(
      `print('one\\n'); await signal('go'); print('two\\n'); await signal('end'); ${WRITE_VIDEO}`,
    )
    const callId = await local.spawn(INPUT)
    const first = follow(local, callId)
    await until(() => first.seen.text === 'one\n')
    local.signal('go')
    await until(() => first.seen.text === 'one\ntwo\n')
    const second = follow(local, callId)
    await until(() => second.seen.text === 'one\ntwo\n')
    local.signal('end')
    expect(await Promise.all([first.end, second.end])).toEqual(['one\ntwo\n', 'one\ntwo\n'])
    videoOf(await local.backend.wait(callId, never))
  })

  test('has what it prints to stdout and to stderr, each line whole', async () => {
    const { logOf } = await command(`
      const lines = []
      for (let n = 0; n < 200; n++) {
        fs.writeSync(1, 'out ' + n); print('err ' + n); await sleep(0); fs.writeSync(1, ' end\\n'); print(' end\\n')
      }
      ${WRITE_VIDEO}`)
    const lines = (await logOf()).text.trimEnd().split('\n')
    for (const name of ['out', 'err']) {
      expect(lines.filter((line) => line.startsWith(name))).toEqual(
        Array.from({ length: 200 }, (_, n) => `${name} ${n} end`),
      )
    }
  })

  test.each([
    [
      'lines of JSON on stdout',
      `fs.writeSync(1, JSON.stringify({ musetalk: { step: 'lips', done, total: 4 } }) + '\\n')`,
    ],
    ['bars of tqdm on stderr', `print('\\rlips: ' + 25 * done + '%|#   | ' + done + '/4 [00:01<00:03,  1.00s/it]\\r')`],
  ])('says how far the run is, by %s', async (_how, print) => {
    const local = await command(
      `for (let done = 0; done <= 4; done++) { ${print}; await signal('go-' + done) } ${WRITE_VIDEO}`,
    )
    const callId = await local.spawn(INPUT)
    const seen = watchProgress(local.backend, callId)
    for (let done = 0; done <= 4; done++) {
      await until(() => seen.length > done, `the progress ${done}`)
      local.signal(`go-${done}`)
    }
    videoOf(await local.backend.wait(callId, never))
    expect(seen).toMatchObject([0, 1, 2, 3, 4].map((done) => ({ step: 'lips', done, total: 4, percent: 25 * done })))
  })

  test('is kept, also for a later process', async () => {
    const { logOf, dataDir, backend } = await command(`print('one\\ntwo'); ${WRITE_VIDEO}`)
    const { text, outcome } = await logOf()
    videoOf(outcome)
    expect(text).toBe('one\ntwo')
    await backend.close()
    const later = await command('', { dataDir })
    expect(await later.read('local-00000000-job-1-1')).toBe('one\ntwo')
  })

  test('that fails has all of its output', async () => {
    const { logOf } = await command(
      `for (let line = 0; line < 1000; line++) print('line ' + line + '\\n'); process.exit(3)`,
    )
    const { text, outcome } = await logOf()
    expect(outcome).toMatchObject({ kind: 'failed', code: 'inference_failed' })
    expect(text.split('\n')).toEqual([...Array.from({ length: 1000 }, (_, line) => `line ${line}`), ''])
  })

  test('is empty when it printed nothing, was not needed or could not be started', async () => {
    const { logOf, spawn, backend, read } = await command(WRITE_VIDEO)
    expect((await logOf()).text).toBe('')
    const callId = await spawn({ ...INPUT, audio_path: 'missing.wav' })
    expect(await backend.wait(callId, never)).toMatchObject({ code: 'input_unavailable' })
    expect(await read(callId)).toBe('')
    const none = await command('', { command: 'no-such-program {output}' })
    expect((await none.logOf()).text).toBe('')
  })

  test('has field names in place of the paths of this machine', async () => {
    const { logOf, dataDir } = await command(`
      print('reads ' + face.slice(0, 5)); await sleep(50)
      print(face.slice(5) + ' and ' + audio + ',\\rwrites ' + output + ' in file:' + output.replace('/output.mp4', ''))
      await sleep(50); print(' of ${SAMPLES}/x'); ${WRITE_VIDEO}`)
    const { text } = await logOf()
    expect(text).toBe('reads video_path and audio_path,\rwrites output in work of media/x')
    expect(text).not.toContain(dataDir)
  })

  test('shows the progress of a line that is overwritten', async () => {
    const local = await command(`print('10 %\\r'); await signal('go'); print('20 %\\n'); ${WRITE_VIDEO}`)
    const { seen, end } = follow(local, await local.spawn(INPUT))
    await until(() => seen.text === '10 %\r')
    local.signal('go')
    expect(await end).toBe('10 %\r20 %\n')
  })

  test('keeps characters that arrive in two pieces', async () => {
    const { logOf } = await command(`
      const bytes = Buffer.from('Grüße 👋\\n'); fs.writeSync(2, bytes, 0, 3); await sleep(50)
      fs.writeSync(2, bytes, 3, 8); await sleep(50); fs.writeSync(2, bytes, 11); ${WRITE_VIDEO}`)
    expect((await logOf()).text).toBe('Grüße 👋\n')
  })

  test('is bounded, and its last line says so', async () => {
    const program = `const line = 'é'.repeat(499) + '\\n'; for (let n = 0; n < 2000; n++) print(line); ${WRITE_VIDEO}`
    const { logOf, dataDir } = await command(program)
    const { text } = await logOf()
    const lines = text.split('\n')
    expect(lines.splice(-2)).toEqual([`[cut here: no more than ${LOG_KEPT_BYTES} bytes of a log are kept]`, ''])
    expect(new Set(lines.slice(0, -1))).toEqual(new Set(['é'.repeat(499)]))
    expect(lines.at(-1)).toMatch(/^é*$/)
    const size = readFileSync(join(dataDir, 'logs', 'job-1-1.log')).length
    expect([size <= LOG_KEPT_BYTES, size > LOG_KEPT_BYTES - 4]).toEqual([true, true])
  })

  test('starts anew when a later process runs the attempt again', async () => {
    const first = await command(`print('first\\n'); ${WRITE_VIDEO}`)
    await first.logOf()
    const second = await command(`print('2\\n'); ${WRITE_VIDEO}`, { dataDir: first.dataDir })
    expect((await second.logOf()).text).toBe('2\n')
  })
})

describe('a reader', () => {
  test('that comes before the command starts waits for it', async () => {
    const local = await command(`print('at last'); await signal('go'); ${WRITE_VIDEO}`, { maxProcesses: 1 })
    await local.spawn(INPUT)
    const waiting = follow(local, await local.spawn(INPUT))
    local.signal('go')
    expect(await waiting.end).toBe('at last')
  })

  test('finishes when the run is stopped, and when the backend is closed', async () => {
    const local = await command(`print('up\\n'); await signal('never')`)
    const [stopped, closed] = [await local.spawn(INPUT), await local.spawn(INPUT)]
    const [first, second] = [follow(local, stopped), follow(local, closed)]
    await until(() => first.seen.text === 'up\n' && second.seen.text === 'up\n')
    await local.backend.stop(stopped, never)
    expect(await first.end).toBe('up\n')
    await local.backend.close()
    expect(await second.end).toBe('up\n')
  })

  test('stops when its signal aborts, and the command continues', async () => {
    const local = await command(`print('up\\n'); await signal('go'); ${WRITE_VIDEO}`)
    const callId = await local.spawn(INPUT)
    const leave = new AbortController()
    const { seen, end } = follow(local, callId, leave.signal)
    await until(() => seen.text === 'up\n')
    const reason = new Error('the client has left')
    leave.abort(reason)
    await expect(end).rejects.toBe(reason)
    local.signal('go')
    videoOf(await local.backend.wait(callId, never))
  })

  test.each(['', 'fc-123', 'local-00-unknown-1', 'local-00-../../results/x-1'])(
    'finds no log of %j',
    async (callId) => {
      const { read } = await command('')
      await expect(read(callId)).rejects.toMatchObject({ status: 410, code: 'logs_unavailable' })
    },
  )
})

test('every write reaches a reader that has read everything before it', async () => {
  const logs = createRunLogs(await temporaryFolder(), silent)
  const log = logs.open('run')
  let seen = 0
  log.write('x')
  for await (const piece of logs.read('run', never)) {
    seen += piece.length
    if (seen < 2000) log.write('x')
    else void log.close()
  }
  expect(seen).toBe(2000)
})

test('a disk that refuses the log does not fail the run, and the server logs a warning', async () => {
  const dataDir = await temporaryFolder()
  mkdirSync(dataDir, { recursive: true })
  writeFileSync(join(dataDir, 'logs'), 'a file in its place')
  const warn = vi.fn()
  const { logOf, read } = await command(`print('up\\n'); ${WRITE_VIDEO}`, { dataDir, log: { ...silent, warn } })
  await expect(logOf()).rejects.toMatchObject({ status: 410 })
  await expect(read('local-00-job-1-1')).rejects.toMatchObject({ status: 410 })
  expect(existsSync(join(dataDir, 'results', 'job-1-1', 'v15', 'output.mp4'))).toBe(true)
  expect(warn).toHaveBeenCalledExactlyOnceWith({ event: 'run_log_failed', err: expect.any(Error) }, expect.any(String))
})

test('the output of ffmpeg is the log of its run', async () => {
  const mediaRoot = await temporaryFolder()
  writeFileSync(join(mediaRoot, 'speech.wav'), readFileSync(join(SAMPLES, 'speech.wav')))
  writeFileSync(join(mediaRoot, 'face.mp4'), Buffer.from('\0\0\0\x18ftypisom\0\0\x02\0isommp41\0\0\0\x10moovgarbage!'))
  const { backend, spawn } = await startLocal({ mediaRoot })
  const callId = await spawn({ video_path: 'face.mp4', audio_path: 'speech.wav' })
  expect(await backend.wait(callId, never)).toMatchObject({
    kind: 'failed',
    error: 'video_path: contains no picture that can be decoded',
  })
  const text = await follow({ backend }, callId).end
  expect(text).toMatch(/^Input #0, mov.* from 'video_path':$/m)
  expect(text).not.toContain(mediaRoot)
})

test.each(ffmpegs)(
  '%s says how far it is while it runs',
  async (ffmpegPath) => {
    const mediaRoot = await temporaryFolder()
    const face = ['-f', 'lavfi', '-i', 'testsrc2=s=1280x720:r=25:d=40', '-c:v', 'libx264', '-preset', 'ultrafast']
    makeMedia(...face, join(mediaRoot, 'face.mp4'))
    makeMedia('-f', 'lavfi', '-i', 'sine=d=60', join(mediaRoot, 'speech.wav'))
    const { backend, spawn } = await startLocal({ mediaRoot, ffmpegPath, maxInputBytes: 100_000_000 })
    const callId = await spawn(INPUT)
    const seen = watchProgress(backend, callId)
    videoOf(await backend.wait(callId, never))
    const encoding = seen.filter(({ step }) => step === 'encoding')
    // The clip is as long as the face, though the speech is longer.
    for (const { total = 0 } of encoding) expect(Math.abs(total - 40_000)).toBeLessThan(100)
    const percents = encoding.map(({ percent = -1 }) => percent)
    expect(percents.length).toBeGreaterThanOrEqual(2)
    expect(percents).toEqual([...new Set(percents)].sort((a, b) => a - b))
    for (const { done = 0, total = 0 } of seen) expect(done).toBeLessThanOrEqual(total)
    // The same lines are in the log, at most one a second.
    const text = await follow({ backend }, callId).end
    expect(text.match(/^{"musetalk":{"step":"encoding","done":\d+,"total":\d+}}$/gm)!.length).toBeGreaterThanOrEqual(2)
  },
  120_000,
)

describe('hiding paths in pieces', () => {
  const paths = [['/home/op/media/face.mp4', 'video_path'] as const, ['/home/op', 'home'] as const]

  test.each([1, 2, 3, 7, 20, 1000])('gives the same for pieces of %i bytes', (size) => {
    const text = `a /home/op/media/face.mp4 b\nfile:/home/op/x\r${'long '.repeat(4000)}/home/op/media/face.mp4${'/'.repeat(9000)}`
    let out = ''
    const filter = createPathFilter(paths, (piece) => (out += piece))
    const bytes = Buffer.from(text)
    for (let at = 0; at < bytes.length; at += size) filter.write(bytes.subarray(at, at + size))
    filter.end()
    expect(out).toBe(`a video_path b\nhome/x\r${'long '.repeat(4000)}video_path${'/'.repeat(9000)}`)
  })

  test('passes on a long line before it is complete', () => {
    let out = ''
    const filter = createPathFilter(paths, (piece) => (out += piece))
    for (let n = 0; n < 100; n++) filter.write(Buffer.from('x'.repeat(1000)))
    expect(out.length).toBeGreaterThan(90_000)
  })
})
