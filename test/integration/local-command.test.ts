import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { LocalOptions } from '../../src/backend/local/backend.ts'
import type { Backend } from '../../src/jobs/ports/backend.ts'
import { parseCommand } from '../../src/config/formats.ts'
import { PARAMETER_NAMES, type RunParameters } from '../../src/jobs/job.ts'
import { never, SAMPLES, startLocal, temporaryFolder, videoOf } from '../helpers/media.ts'
import { until } from '../helpers/until.ts'

const INPUT = { video_path: 'face.mp4', audio_path: 'speech.wav' }

/** A LOCAL_COMMAND of a Node program; `rest` are its arguments as they stand in the template. */
async function command(program: string, rest = '{output}', options: Partial<LocalOptions> = {}) {
  const folder = await temporaryFolder()
  const script = join(folder, 'a program.mjs')
  writeFileSync(script, `import fs from 'node:fs'; import { spawn } from 'node:child_process';\n${program}`)
  const local = await startLocal({ command: `"${process.execPath}" "${script}" ${rest}`, ...options })
  return { ...local, folder }
}

const WRITE_VIDEO = `fs.copyFileSync(${JSON.stringify(join(SAMPLES, 'face.mp4'))}, process.argv[2]);`
const hasPrlimit = existsSync('/usr/bin/prlimit')
if (!hasPrlimit) process.stdout.write('skipped: the limit on the memory of a command needs prlimit\n')

const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0)
    // One that has ended and was not fetched yet by its parent is dead all the same.
    return !existsSync(`/proc/${pid}/stat`) || !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ')
  } catch {
    return false
  }
}

describe('a command', () => {
  test('makes the video from its literal arguments, without a shell', async () => {
    const folder = await temporaryFolder()
    const report = join(folder, 'report.json')
    const program = `${WRITE_VIDEO} fs.writeFileSync(process.argv[3], JSON.stringify(process.argv.slice(4)))`
    const rest = `{output} "${report}" {face} --audio={audio} {version} 'two words; touch $HOME *' $(id) '' "it's" '{"a": 1}'`
    const { run, dataDir, workFolders } = await command(program, rest)
    const path = videoOf(await run(INPUT))
    expect(path).toBe(join(dataDir, 'results', 'job-1-1', 'v15', 'output.mp4'))
    expect(readFileSync(path)).toEqual(readFileSync(join(SAMPLES, 'face.mp4')))
    expect(JSON.parse(readFileSync(report, 'utf8'))).toEqual([
      ...[join(SAMPLES, 'face.mp4'), `--audio=${join(SAMPLES, 'speech.wav')}`, 'v15'],
      ...['two words; touch $HOME *', '$(id)', '', "it's", '{"a": 1}'],
    ])
    expect(await workFolders()).toEqual([])
  })

  test("gets the configured environment and nothing of the server's", async () => {
    const folder = await temporaryFolder()
    const report = join(folder, 'environment.json')
    process.env.A_SECRET_OF_THE_SERVER = 'secret'
    const childEnvironment = { PATH: process.env.PATH ?? '', LANG: 'C' }
    const program = `${WRITE_VIDEO} fs.writeFileSync(process.argv[3], JSON.stringify(process.env))`
    const { run } = await command(program, `{output} "${report}"`, { childEnvironment })
    videoOf(await run(INPUT))
    delete process.env.A_SECRET_OF_THE_SERVER
    const owner = { MUSETALK_OWNER: expect.any(String) }
    expect(JSON.parse(readFileSync(report, 'utf8'))).toEqual({ ...childEnvironment, ...owner })
  })

  test('that fails is quoted with its last lines, with field names in place of paths', async () => {
    const program = `
      for (let line = 0; line < 20_000; line++) fs.writeSync(2, 'line ' + line + '\\n')
      fs.writeSync(2, 'cannot use ' + process.argv.slice(2).join(' and '))
      process.exitCode = 3`
    const { run, workFolders } = await command(program, '{face} {audio} {output}')
    const outcome = await run(INPUT)
    expect(outcome).toEqual({
      kind: 'failed',
      code: 'inference_failed',
      error: expect.stringMatching(
        /^the command ended with code 3: line 19991\n(line \d+\n){8}cannot use video_path and audio_path and output$/,
      ) as string,
    })
    expect(await workFolders()).toEqual([])
  })

  test('that is killed is reported with the signal', async () => {
    const { run } = await command("process.kill(process.pid, 'SIGKILL')")
    expect(await run(INPUT)).toMatchObject({
      code: 'inference_failed',
      error: 'the command ended with signal SIGKILL',
    })
  })

  test.each([
    ['on stderr', 'fs.writeSync(2,', 3, 'the command ended with code 3'],
    ['on stdout, with success, as MuseTalk does', 'fs.writeSync(1,', 0, 'the command wrote no output'],
  ])(
    'that says why it failed %s is quoted, without bars, and gets the code of its words',
    async (_where, write, exit, words) => {
      const program = `
      fs.writeSync(2, '\\r 50%|#####     | 1/2 [00:01<00:01]\\r100%|##########| 2/2 [00:02<00:00]\\n')
      ${write} '\\u001b[31mError occurred during processing: no face was found\\u001b[0m\\n')
      process.exitCode = ${exit}`
      const { run } = await command(program)
      const error = `${words}: Error occurred during processing: no face was found`
      expect(await run(INPUT)).toEqual({ kind: 'failed', code: 'face_not_found', error })
    },
  )

  test.each([
    ['writes nothing', '', 'inference_failed', 'the command wrote no output'],
    ['makes a folder', 'fs.mkdirSync(process.argv[2])', 'inference_failed', 'the command wrote no output'],
    [
      'writes text',
      "fs.writeFileSync(process.argv[2], 'done')",
      'invalid_output',
      'the command wrote text, not a video',
    ],
    [
      'writes half a video',
      `fs.writeFileSync(process.argv[2], fs.readFileSync(${JSON.stringify(join(SAMPLES, 'face.mp4'))}).subarray(0, 9000))`,
      'invalid_output',
      `the command wrote a video that is not whole: it is cut off: its header says ${statSync(join(SAMPLES, 'face.mp4')).size} bytes, but it has 9000`,
    ],
    [
      'writes a picture',
      `fs.copyFileSync(${JSON.stringify(join(SAMPLES, 'face.jpg'))}, process.argv[2])`,
      'invalid_output',
      'the command wrote image/jpeg, not a video',
    ],
  ])('that exits with success but %s fails', async (_what, program, code, error) => {
    const { run, dataDir } = await command(program)
    expect(await run(INPUT)).toEqual({ kind: 'failed', code, error })
    expect(existsSync(join(dataDir, 'results'))).toBe(false)
  })

  test.skipIf(!hasPrlimit)('under `prlimit` that takes more memory than it may fails', async () => {
    const folder = await temporaryFolder()
    const script = join(folder, 'greedy.mjs')
    writeFileSync(script, 'for (const kept = []; ; ) kept.push(Buffer.alloc(2 ** 28, 1))')
    const { run } = await startLocal({
      command: `prlimit --data=2147483648 "${process.execPath}" "${script}" {output}`,
    })
    expect(await run(INPUT)).toMatchObject({
      code: 'inference_failed',
      error: expect.stringContaining('allocat'),
    })
  })

  test('that does not exist is rejected', async () => {
    const { run } = await startLocal({ command: 'no-such-program {output}' })
    const error = 'LOCAL_COMMAND could not be started (ENOENT)'
    expect(await run(INPUT)).toEqual({ kind: 'failed', code: 'backend_rejected', error })
  })

  test('reads nothing from the server, and may print any amount', async () => {
    const program = `
      process.stdin.on('data', () => process.exit(4)).on('end', () => {
        for (let i = 0; i < 500; i++) { fs.writeSync(1, 'x'.repeat(10_000)); fs.writeSync(2, 'y'.repeat(10_000)) }
        ${WRITE_VIDEO}
      })`
    const { run } = await command(program)
    videoOf(await run(INPUT))
  })
})

describe('with all that a command started', () => {
  const FAMILY = `
    const child = spawn(process.execPath, ['-e', "process.on('SIGTERM', () => {}); setInterval(() => {}, 1000); process.send('up')"],
      { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    await new Promise((resolve) => child.once('message', resolve))
    fs.writeFileSync(process.argv[3] + '.new', JSON.stringify([process.pid, child.pid]))
    fs.renameSync(process.argv[3] + '.new', process.argv[3]);`

  async function family(program: string) {
    const pids = join(await temporaryFolder(), 'pids')
    const local = await command(FAMILY + program, `{output} "${pids}"`)
    const started = async () => {
      await until(() => existsSync(pids), 'the start of the command')
      return JSON.parse(readFileSync(pids, 'utf8')) as number[]
    }
    return { ...local, started }
  }

  test('it is killed when it is stopped, even if it ignores SIGTERM', async () => {
    const { backend, spawn, started, workFolders } = await family("process.on('SIGTERM', () => {})")
    const callId = await spawn(INPUT)
    const outcome = backend.wait(callId, never)
    const pids = await started()
    expect(pids.map(isAlive)).toEqual([true, true])
    await backend.stop(callId, never)
    expect(pids.map(isAlive)).toEqual([false, false])
    expect(await outcome).toEqual({ kind: 'interrupted', error: 'The run was stopped.' })
    expect(await workFolders()).toEqual([])
  })

  test('it is killed when the backend is closed', async () => {
    const { backend, spawn, started, workFolders } = await family('')
    await spawn(INPUT)
    const pids = await started()
    await backend.close()
    expect(pids.map(isAlive)).toEqual([false, false])
    expect(await workFolders()).toEqual([])
  })

  test('it is killed when the command itself has exited', async () => {
    const { run, started } = await family(`${WRITE_VIDEO} process.exit(0)`)
    videoOf(await run(INPUT))
    expect((await started()).map(isAlive)).toEqual([false, false])
  })

  test('a child that left the group and keeps the pipes open does not delay the outcome', async () => {
    const pid = join(await temporaryFolder(), 'pid')
    const program = `
      const child = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 60_000)'], { detached: true, stdio: 'inherit' })
      child.unref(); fs.writeFileSync(process.argv[3], String(child.pid)); ${WRITE_VIDEO} process.exit(0)`
    const { run } = await command(program, `{output} "${pid}"`)
    videoOf(await run(INPUT))
    process.kill(Number(readFileSync(pid, 'utf8')), 'SIGKILL')
  })
})

describe('parameters', () => {
  const all: RunParameters = {
    extra_margin: 0,
    parsing_mode: 'neck',
    left_cheek_width: 80,
    right_cheek_width: 90,
    batch_size: 4,
    fps: 30,
    use_float16: false,
  }
  const spawn = (backend: Backend, parameters: RunParameters, attempt = 1) =>
    backend.spawn({ jobId: 'job', attempt, caller: 'anonymous', input: INPUT, version: 'v15', parameters }, never)

  test('reach the command where it has their placeholders; an argument without its value is left out', async () => {
    const folder = await temporaryFolder()
    const report = join(folder, 'report.json')
    const program = `${WRITE_VIDEO} fs.writeFileSync(process.argv[3], JSON.stringify(process.argv.slice(4)))`
    const words = PARAMETER_NAMES.map((name) => `--${name}={${name}}`).join(' ')
    const { backend } = await command(program, `{output} "${report}" ${words} last`)
    let attempts = 0
    const argumentsOf = async (parameters: RunParameters) => {
      const spawned = await spawn(backend, parameters, ++attempts)
      videoOf(await backend.wait(spawned.kind === 'spawned' ? spawned.callId : '', never))
      return JSON.parse(readFileSync(report, 'utf8')) as string[]
    }
    const given = Object.entries(all).map(([name, value]) => `--${name}=${value}`)
    expect(await argumentsOf(all)).toEqual([...given, 'last'])
    expect(await argumentsOf({ bbox_shift: -7 })).toEqual(['--bbox_shift=-7', 'last'])
    expect(await argumentsOf({})).toEqual(['last'])
  })

  test('without a placeholder are refused at the submit and at the start of a run', async () => {
    const { backend } = await command(WRITE_VIDEO, '{output} --fps={fps}')
    expect(backend.check(INPUT, { fps: 30 })).toEqual([])
    const message = 'is not taken: LOCAL_COMMAND has no placeholder for it'
    expect(backend.check(INPUT, { fps: 30, batch_size: 4 })).toEqual([{ path: '/parameters/batch_size', message }])
    const error = `parameters/batch_size ${message}`
    expect(await spawn(backend, { batch_size: 4 })).toEqual({ kind: 'rejected', code: 'backend_rejected', error })
  })

  test('are refused by ffmpeg, each of them', async () => {
    const { backend } = await startLocal()
    const refused = backend.check(INPUT, { bbox_shift: 1, ...all })
    expect(refused.map(({ path }) => path)).toEqual(PARAMETER_NAMES.map((name) => `/parameters/${name}`))
  })
})

describe('a template', () => {
  test.each([
    ['', 'is empty'],
    ['   ', 'is empty'],
    ['"" {output}', 'is empty'],
    ['run "{output}', 'a quote is not closed'],
    ["run it's {output}", 'a quote is not closed'],
    [
      'run {output} {speech}',
      expect.stringMatching(
        /^unknown placeholder \{speech\}; use \{face\}, \{audio\}, \{output\}, \{version\}, \{bbox_shift\},/,
      ) as string,
    ],
    ['run {face}', 'must contain {output}, the file to write'],
  ])('%j is refused when the backend is created', async (template, message) => {
    await expect(startLocal({ command: template })).rejects.toMatchObject({ message })
  })

  test('inserts values literally, also those that look like a template', () => {
    const { fill } = parseCommand('run "--in={face} x" {audio}{output}')
    const values = { face: 'a "b" {audio} $& $1', audio: '; rm', output: ' {face}', version: 'v1' }
    expect(fill(values)).toEqual(['run', '--in=a "b" {audio} $& $1 x', '; rm {face}'])
  })
})
