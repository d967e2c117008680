import { spawnSync } from 'node:child_process'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { ffmpegs } from '../helpers/ffmpeg.ts'
import { never, silent, startLocal, temporaryFolder, videoOf } from '../helpers/media.ts'
import { mountDisk, noSmallDisk } from '../helpers/small-disk.ts'
import { until } from '../helpers/until.ts'

const INPUT = { video_path: 'face.mp4', audio_path: 'speech.wav' }
const NO_ROOM = { kind: 'interrupted', error: 'The server ran out of disk space.' }
/** What fills any disk, and the size of a disk. */
const [BIG, SMALL_KIB] = ['/dev/zero', 2048]

/** Whether a video decodes to its end without an error. */
const plays = (path: string) =>
  spawnSync(ffmpegs[0] ?? '', ['-v', 'error', '-xerror', '-i', path, '-f', 'null', '-']).status === 0

describe.skipIf(noSmallDisk !== undefined)('on a disk that is full', () => {
  describe.each(ffmpegs)('with %s', (ffmpegPath) => {
    // From too small for the clip to large enough for everything.
    const sizes = Array.from({ length: 13 }, (_, n) => 60 + n * 24)

    test('a run of ffmpeg is interrupted, or its video plays', { timeout: 60_000 }, async () => {
      const outcomes = []
      for (const kib of sizes) {
        const { run } = await startLocal({ ffmpegPath, dataDir: mountDisk(kib), pauseMs: 1 })
        const outcome = await run(INPUT)
        outcomes.push(outcome.kind)
        if (outcome.kind === 'succeeded') expect(plays(outcome.outputPath), `${kib} KiB`).toBe(true)
        else expect(outcome, `${kib} KiB`).toEqual(NO_ROOM)
      }
      expect(new Set(outcomes)).toEqual(new Set(['interrupted', 'succeeded']))
    })
  })

  test.each([
    ['reports it', `sh -c 'cat ${BIG} > "$1"' sh {output}`],
    ['says nothing', `sh -c 'cat ${BIG} > "$1" 2> /dev/null' sh {output}`],
    ['ends with success', `sh -c 'cat ${BIG} > "$1.more"; cp "$0" "$1"; exit 0' {face} {output}`],
  ])('a run of a command that %s is interrupted', async (_what, command) => {
    const { run, workFolders } = await startLocal({ command, dataDir: mountDisk(SMALL_KIB), pauseMs: 1 })
    expect(await run(INPUT)).toEqual(NO_ROOM)
    expect(await workFolders()).toEqual([])
  })

  test('a run that fetches its input is interrupted, and logged for the operator', async () => {
    const server = createServer((_request, response) => response.end(Buffer.alloc(4_000_000)))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => new Promise((resolve) => void server.close(() => resolve())))
    const video_url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/face.mp4`
    const log = { ...silent, error: vi.fn() }
    const { run } = await startLocal({ log, dataDir: mountDisk(SMALL_KIB), pauseMs: 1 })
    expect(await run({ video_url, audio_path: 'speech.wav' })).toEqual(NO_ROOM)
    expect(log.error).toHaveBeenCalledExactlyOnceWith(
      expect.objectContaining({
        event: 'local_interrupted',
        job_id: 'job-1',
        attempt: 1,
        pause_ms: 1,
        err: expect.objectContaining({ name: 'MachineFailure' }) as Error,
      }),
      expect.any(String),
    )
  })

  test('other runs wait until the pause is over, and then use the space that was freed', async () => {
    const dataDir = mountDisk(SMALL_KIB)
    const [blocker, marker] = [join(dataDir, 'blocker'), join(await temporaryFolder(), 'started')]
    writeFileSync(blocker, Buffer.alloc((SMALL_KIB - 200) * 1024))
    const command = `sh -c 'echo >> "$2"; cp "$0" "$1" && cat "$1" "$1" "$1" > "$1.more" && rm "$1.more"' {face} {output} "${marker}"`
    const starts = () => (existsSync(marker) ? readFileSync(marker, 'utf8').length : 0)
    const log = { ...silent, error: vi.fn() }
    const { backend, spawn } = await startLocal({ command, dataDir, log, maxProcesses: 1, pauseMs: 1500 })
    const first = backend.wait(await spawn(INPUT, 'first'), never)
    await until(() => starts() === 1, 'the start of the first run')
    const second = backend.wait(await spawn(INPUT, 'second'), never)
    await until(() => log.error.mock.calls.length > 0, 'the end of the first run')
    rmSync(blocker)
    expect(await first).toEqual(NO_ROOM)
    expect(videoOf(await second)).toMatch(/second-1/)
    expect(starts()).toBe(2)
  })
})

describe('a shortage that a child process reports', () => {
  test.each([
    ['No space left on device', 'disk space'],
    ['OSError: [Errno 122] Disk quota exceeded: /tmp/x', 'disk space'],
    ['OSError: [Errno 24] Too many open files', 'file descriptors'],
    ['fork: retry: Resource temporarily unavailable', 'processes'],
  ])('interrupts its own run: %s', async (message, shortage) => {
    const { run } = await startLocal({ command: `sh -c 'echo "$0" >&2; exit 1' "${message}" {output}`, pauseMs: 1 })
    expect(await run(INPUT)).toEqual({ kind: 'interrupted', error: `The server ran out of ${shortage}.` })
  })

  test('does not delay other runs, since a file may have caused the report', async () => {
    const command = `sh -c 'case "$0" in *.jpg) echo "No space left on device" >&2; exit 1;; esac; cp "$0" "$1"' {face} {output}`
    const { backend, run, spawn } = await startLocal({ command, pauseMs: 60_000 })
    const paused = backend.wait(await spawn({ ...INPUT, video_path: 'face.jpg' }, 'paused'), never)
    videoOf(await run(INPUT))
    await backend.close()
    expect(await paused).toEqual(NO_ROOM)
  })
})
