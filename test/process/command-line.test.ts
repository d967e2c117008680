import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { run } from '../../src/client/cli/run.ts'
import { probe, SAMPLES, SPEECH_SECONDS } from '../helpers/media.ts'
import { freePort } from '../helpers/ports.ts'
import { openRelay } from '../helpers/relay.ts'
import { type ServerProcess, startServer } from '../helpers/server.ts'

const [FACE, SPEECH] = [join(SAMPLES, 'face.mp4'), join(SAMPLES, 'speech.wav')]
const CLI = resolve('src/client/cli.ts')
/** Goes before a line that replaces another on a terminal. */
const CLEAR = '\r\u001B[2K'

let server: ServerProcess
beforeAll(async () => {
  server = await startServer({ env: { BACKEND: 'local' } })
})
afterAll(() => server.end('SIGKILL'))

function temporaryFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'command line-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return folder
}

type Options = { url?: string; isTTY?: boolean; env?: Record<string, string>; signal?: AbortSignal }

/** A command in this process, with what it writes. */
async function musetalk(args: readonly string[], options: Options = {}) {
  const { url = server.url, isTTY = false, env, signal = new AbortController().signal } = options
  const [out, err]: [string[], string[]] = [[], []]
  const code = await run(args, {
    env: { MUSETALK_URL: url, ...env },
    stdout: { write: (text) => out.push(text), isTTY, columns: 80 },
    stderr: { write: (text) => err.push(text), isTTY, columns: 80 },
    signal,
  })
  return { code, stdout: out.join(''), stderr: err.join(''), signal }
}

const objectsOf = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)

const jobsOfServer = async () => objectsOf((await musetalk(['list', '--json', '--limit', '1000'])).stdout).length

describe('musetalk submit', () => {
  test('uploads, waits and saves the video, and has nothing more to do the second time', async () => {
    const relay = await openRelay(Number(new URL(server.url).port))
    const output = join(temporaryFolder(), 'new', 'out.mp4')
    const args = [
      'submit',
      FACE,
      SPEECH,
      '--wait',
      '-o',
      output,
      '-m',
      'scene=1',
      '--timeout',
      '600',
      '--priority',
      'low',
    ]
    const { code, stdout, stderr } = await musetalk(args, relay)
    expect(code).toBe(0)
    const id = stdout.trim()
    expect(await server.job(id)).toMatchObject({ status: 'succeeded', metadata: { scene: '1' }, priority: 'low' })
    expect(stderr).toMatch(new RegExp(`^(job ${id}: .*\\n)*job ${id}: succeeded\n${output}: \\d+ KB\n$`))
    const { seconds, video, audio } = await probe(output)
    expect({ video, audio }).toEqual({ video: 'h264 yuv420p', audio: 'aac' })
    expect(Math.abs(seconds - SPEECH_SECONDS)).toBeLessThan(0.1)
    expect(readdirSync(join(output, '..')).toSorted()).toEqual(['.musetalk.jsonl', 'out.mp4'])

    const sent = relay.sent
    const again = await musetalk(args, relay)
    expect(again).toMatchObject({ code: 0, stdout, stderr: `${output} is complete already; --again makes it anew\n` })
    expect(relay.sent).toBe(sent)

    const reusing = await musetalk(['submit', FACE, SPEECH, '--reuse'])
    expect(await server.job(reusing.stdout.trim())).toMatchObject({ status: 'succeeded', reused_from: id })
  })

  test('shows on a terminal a line that changes, and with --json an object for each change', async () => {
    const output = join(temporaryFolder(), 'out.mp4')
    const args = ['submit', 'server:face.jpg', SPEECH, '-o', output]
    const { code, stderr } = await musetalk(args, { isTTY: true })
    expect(code).toBe(0)
    const shown = stderr.split(CLEAR)
    expect(shown[1]).toMatch(/^(queued|running), 0 s so far$/)
    expect(shown).toContainEqual(expect.stringMatching(/^\[={20}\] 100 % downloading, \d+ KB$/))
    const json = await musetalk([...args, '--json', '--again'], { isTTY: true })
    const objects = objectsOf(json.stdout)
    expect({ code: json.code, stderr: json.stderr }).toEqual({ code: 0, stderr: '' })
    expect(objects[0]).toMatchObject({ status: 'submitted' })
    expect(objects.at(-1)).toMatchObject({ status: 'succeeded', output, size: readFileSync(output).length })
  })

  test('without --wait prints the id only, of the same job for the same files', async () => {
    const args = ['submit', FACE, 'server:speech.wav', '-m', 'test=same']
    const first = await musetalk(args)
    expect(first).toMatchObject({ code: 0, stdout: expect.stringMatching(/^[0-9a-f-]{36}\n$/) })
    expect((await musetalk(args)).stdout).toBe(first.stdout)
    expect((await musetalk([...args, '--again'])).stdout).not.toBe(first.stdout)
    expect(await musetalk(['wait', first.stdout.trim()])).toMatchObject({ code: 0 })
  })

  test('exits with 1 and the reason if the job fails, and starts it again the next time', async () => {
    const args = ['submit', 'server:none.mp4', SPEECH, '--wait']
    const { code, stdout, stderr } = await musetalk(args)
    const id = stdout.trim()
    expect(code).toBe(1)
    expect(stderr).toContain(`musetalk: job ${id} failed (input_unavailable): video_path: there is no such file`)
    expect(await musetalk(args)).toMatchObject({ code: 1, stdout })
    expect((await server.job(id)).attempts).toHaveLength(2)
  })

  test(
    'continues after Ctrl-C, without another upload, and after half of a download',
    { timeout: 60_000 },
    async () => {
      const folder = temporaryFolder()
      const relay = await openRelay(Number(new URL(server.url).port))
      const args = [CLI, 'submit', FACE, SPEECH, '-o', 'out.mp4', '-m', 'test=interrupted']
      const start = () => spawn(process.execPath, args, { cwd: folder, env: { MUSETALK_URL: relay.url } })
      const child = start()
      let stderr = ''
      child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
      relay.at('/output', () => child.kill('SIGINT'))
      expect(await once(child, 'close')).toEqual([130, null])
      expect(stderr).toMatch(/goes on at the server: the same command continues, musetalk cancel stops it\n$/)
      expect(readdirSync(folder)).toEqual(['.musetalk.jsonl'])

      relay.at('nothing of this kind', () => undefined)
      expect(await once(start(), 'close')).toEqual([0, null])
      const output = join(folder, 'out.mp4')
      const video = readFileSync(output)
      expect(relay.sent.match(/^POST /gm)).toHaveLength(1)

      const [, id = ''] = /"job_id":"([^"]+)"/.exec(readFileSync(join(folder, '.musetalk.jsonl'), 'utf8')) ?? []
      const partial = `${output}.${id}.part`
      renameSync(output, partial)
      writeFileSync(partial, video.subarray(0, 1000))
      expect(await once(start(), 'close')).toEqual([0, null])
      expect(relay.sent).toContain('range: bytes=1000-\r\n')
      expect(readFileSync(output).equals(video)).toBe(true)
      expect(existsSync(partial)).toBe(false)
    },
  )
})

test('a file of 300 MB is sent without being held in memory', { timeout: 60_000 }, async () => {
  const folder = temporaryFolder()
  const [face, hook] = [join(folder, 'face.mp4'), join(folder, 'hook.mjs')]
  writeFileSync(face, '')
  truncateSync(face, 300_000_000)
  writeFileSync(hook, `process.on('exit', () => process.stderr.write(String(process.resourceUsage().maxRSS)))`)
  let received = 0
  const receiver = createServer((request, response) => {
    request.on('data', (chunk: Buffer) => (received += chunk.length))
    // A server that takes no files ahead of a submit gets a form.
    request.on('end', () => response.writeHead(request.url === '/uploads' ? 404 : 400).end())
  }).listen(0, '127.0.0.1')
  await once(receiver, 'listening')
  onTestFinished(() => void receiver.close())
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`
  const child = spawn(process.execPath, ['--import', hook, CLI, 'submit', face, SPEECH, '--url', url])
  const [stderr] = await Promise.all([text(child.stderr), once(child, 'close')])
  expect(child.exitCode).toBe(2)
  expect(received).toBeGreaterThan(300_000_000)
  const [, kilobytes] = /(\d+)$/.exec(stderr) ?? []
  expect(Number(kilobytes)).toBeLessThan(250_000)
})

describe('musetalk batch', () => {
  const CSV = `face,speech,output,metadata.scene
${FACE},${SPEECH},one,1
notes.txt,${SPEECH},two,2
server:face.jpg,"${SPEECH}",deep/three.mp4,3
none.mp4,${SPEECH},four,4
`

  test('makes every row that can be made, and the next time only what is missing', { timeout: 60_000 }, async () => {
    const folder = temporaryFolder()
    const [csv, out] = [join(folder, 'jobs.csv'), join(folder, 'out')]
    writeFileSync(csv, CSV)
    writeFileSync(join(folder, 'notes.txt'), 'no video')
    const first = await musetalk(['batch', csv, '--out', out, '--concurrency', '2'])
    expect(first.code).toBe(1)
    const lines = first.stderr.trim().split('\n').toSorted()
    expect(lines).toEqual([
      '4 rows: 2 made, 2 failed',
      expect.stringMatching(/^line 2: .*one\.mp4 \(\d+ KB\)$/),
      expect.stringMatching(/^line 3: video: is text, not a video/),
      expect.stringMatching(/^line 4: .*three\.mp4 \(\d+ KB\)$/),
      `line 5: ${join(folder, 'none.mp4')}: cannot be read (ENOENT)`,
      'musetalk: 2 of 4 rows failed; the same command tries them again',
    ])
    expect((await probe(join(out, 'deep', 'three.mp4'))).audio).toBe('aac')

    const count = await jobsOfServer()
    writeFileSync(csv, CSV.replace('notes.txt', FACE).replace('none.mp4', FACE))
    const second = await musetalk(['batch', csv, '--out', out, '--json'])
    const objects = objectsOf(second.stdout)
    expect(second).toMatchObject({ code: 0, stderr: '' })
    expect(objects.at(-1)).toEqual({ summary: { rows: 4, succeeded: 2, complete_before: 2, failed: 0 } })
    const byLine = objects.slice(0, -1).toSorted((a, b) => Number(a.line) - Number(b.line))
    expect(byLine.map(({ line, status, complete_before: before }) => [line, status, before])).toEqual([
      ...[
        [2, 'succeeded', true],
        [3, 'succeeded', false],
        [4, 'succeeded', true],
        [5, 'succeeded', false],
      ],
    ])
    expect(await jobsOfServer()).toBe(count + 2)
    expect(await server.job(String(byLine[1]?.job_id))).toMatchObject({ metadata: { scene: '2' } })
  })

  test('reads stdin, and has nothing to do without rows', async () => {
    const child = spawn(process.execPath, [CLI, 'batch', '-', '--out', temporaryFolder(), '--url', server.url])
    child.stdin.end('face,speech\n')
    const [stderr] = await Promise.all([text(child.stderr), once(child, 'close')])
    expect([child.exitCode, stderr]).toEqual([0, '0 rows: 0 made\n'])
  })

  test('says on a terminal how far it is, and stops at Ctrl-C', async () => {
    const folder = temporaryFolder()
    const rows = Array.from({ length: 20 }, (_, n) => `server:face.jpg,${SPEECH},${n}`)
    writeFileSync(join(folder, 'jobs.csv'), ['face,speech,output', ...rows].join('\n'))
    const controller = new AbortController()
    const args = ['batch', join(folder, 'jobs.csv'), '--out', folder, '--concurrency', '3', '-m', 'test=stopped']
    const working = musetalk(args, { isTTY: true, signal: controller.signal })
    const before = await jobsOfServer()
    while ((await jobsOfServer()) === before);
    controller.abort(130)
    const { code, stderr } = await working
    expect(code).toBe(130)
    expect(stderr.split(CLEAR)).toContainEqual(
      expect.stringMatching(/^\[[=> ]{20}\] +\d+ % \d+ of 20 done, 3 at the server/),
    )
    expect(stderr).toMatch(
      /20 rows: \d+ made, \d+ not finished\njobs at the server go on; the same command continues\n$/,
    )
    expect(readdirSync(folder).filter((name) => name.endsWith('.mp4')).length).toBeLessThan(20)
  })
})

describe('musetalk list, logs and cancel', () => {
  test('show jobs and their output, and cancel', async () => {
    const { stdout } = await musetalk(['submit', 'server:face.mp4', 'server:speech.wav', '--wait'])
    const id = stdout.trim()
    const listed = await musetalk(['list', '--status', 'succeeded', '--limit', '1'])
    expect(listed.stdout).toMatch(/^[0-9a-f-]{36} {2}succeeded {3}\d{4}-\S+Z {2}.*\n$/)
    expect((await musetalk(['logs', '-f', id])).stdout).toContain('Stream #0:0')
    const lines = objectsOf((await musetalk(['logs', id, '--json'])).stdout)
    expect(lines).toContainEqual({ line: expect.stringContaining('Stream #0:0') })
    const late = await musetalk(['cancel', id])
    expect(late).toMatchObject({ code: 3, stderr: 'musetalk: The job has already succeeded.\n' })
  })

  test('follow a job that runs, and cancel it', async () => {
    const folder = temporaryFolder()
    const script = join(folder, 'slow.sh')
    writeFileSync(script, 'echo first >&2; while [ ! -e "$1" ]; do sleep 0.05; done; echo second >&2; exit 1')
    const go = join(folder, 'go')
    const slow = await startServer({ env: { BACKEND: 'local', LOCAL_COMMAND: `sh "${script}" "${go}" {output}` } })
    onTestFinished(() => void slow.end('SIGKILL'))
    const { stdout } = await musetalk(['submit', 'server:face.mp4', 'server:speech.wav'], slow)
    const id = stdout.trim()
    await slow.untilStatus(id, 'running')
    expect((await musetalk(['logs', id], slow)).stdout).toMatch(/first\n$/)
    const following = musetalk(['logs', '-f', id], slow)
    writeFileSync(go, '')
    expect((await following).stdout).toMatch(/first\nsecond\n/)
    rmSync(go)
    const other = await musetalk(['submit', 'server:face.mp4', 'server:speech.wav'], slow)
    expect(other.stdout).toBe(stdout)
    expect(await musetalk(['cancel', id], slow)).toMatchObject({ code: 0, stdout: `${id} canceled\n` })
    expect(await musetalk(['wait', id], slow)).toMatchObject({
      ...{ code: 1, stderr: expect.stringContaining(`musetalk: job ${id} was canceled\n`) },
    })
  })
})

describe('the exit code', () => {
  test.each([
    ['no command', [], 'Usage: musetalk COMMAND'],
    ['an unknown command', ['constructor'], 'there is no command constructor; see musetalk --help'],
    ['an unknown option', ['list', '--all'], "Unknown option '--all'\nSee musetalk list --help."],
    ['a missing argument', ['submit', 'a.mp4'], 'SPEECH is missing'],
    ['too many arguments', ['logs', 'a', 'b'], 'unexpected argument: b'],
    ['a missing file', ['submit', 'none.mp4', SPEECH], 'none.mp4: cannot be read (ENOENT)'],
    ['a missing folder', ['batch', 'jobs.csv'], '--out is missing'],
    ['a missing CSV', ['batch', 'none.csv', '--out', 'x'], 'none.csv: cannot be read (ENOENT)'],
    ['a bad number', ['list', '--limit', '0'], '--limit 0: must be a whole number from 1'],
    ['a bad URL', ['list', '--url', 'localhost'], 'localhost is not the URL of a server'],
    ['a bad field', ['submit', 'server:a.mp4', 'server:b', '--version', 'v9'], 'version: must be one of v15, v1'],
  ])('is 2 for %s', async (_what, args, words) => {
    const { code, stdout, stderr } = await musetalk(args)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain(words)
    expect(stderr).not.toMatch(/\n +at /)
  })

  test('is 3 for a server that is unreachable or refuses, and 4 for an output that cannot be written', async () => {
    const url = `http://127.0.0.1:${await freePort()}`
    const away = await musetalk(['submit', FACE, SPEECH], { url })
    expect(away).toMatchObject({
      ...{ code: 3, stderr: `musetalk: cannot reach ${url} (ECONNREFUSED); start the server, or set MUSETALK_URL\n` },
    })
    const unknown = await musetalk(['wait', 'none'])
    expect(unknown).toMatchObject({ code: 3, stderr: expect.stringMatching(/^musetalk: .*\n$/) })
    const file = join(temporaryFolder(), 'file')
    writeFileSync(file, '')
    expect(await musetalk(['submit', FACE, SPEECH, '-o', join(file, 'out.mp4')])).toMatchObject({ code: 4 })
  })

  test('is 0 for help and the version, also by npm', async () => {
    for (const name of ['submit', 'batch', 'wait', 'list', 'logs', 'cancel']) {
      const { code, stdout } = await musetalk([name, '--help'])
      expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringContaining(`Usage: musetalk ${name} `) })
      expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThan(115)
    }
    const args = ['run', '-s', 'musetalk', '--', '--version']
    const version = await new Promise((done) => void execFile('npm', args, (_error, stdout) => done(stdout)))
    expect(version).toBe(`${(JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }).version}\n`)
  })
})
