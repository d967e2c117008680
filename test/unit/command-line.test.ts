import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { type Client, type Download, ProblemError } from '../../src/client/index.ts'
import { statusLine } from '../../src/client/cli/batch.ts'
import { parseCsv } from '../../src/client/cli/csv.ts'
import { exitCodeOf, JobError, messageOf, retryTransient, UsageError } from '../../src/client/cli/failures.ts'
import { pairsOf } from '../../src/client/cli/options.ts'
import { JOURNAL_NAME, openJournal, saveOutput } from '../../src/client/cli/output-file.ts'
import { barLine, createReport, durationText, progressLine } from '../../src/client/cli/report.ts'
import { createFiles, prepare } from '../../src/client/cli/request.ts'
import { parseRows } from '../../src/client/cli/rows.ts'
import { createUuids } from '../../src/lib/ids.ts'

afterEach(() => void vi.useRealTimers())

const NONE = { version: undefined, parameters: {}, metadata: {} }
const temporaryFolder = () => {
  const folder = mkdtempSync(join(tmpdir(), 'command line-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return folder
}

describe('parseCsv', () => {
  const texts = (text: string) => parseCsv(text).map(({ fields }) => fields.map((field) => field.text))

  test('reads quotes, commas, line ends and empty fields as RFC 4180 has them', () => {
    expect(texts('a,"b ""c"", d",\r\n"two\r\nlines",,é\n\nlast')).toEqual([
      ['a', 'b "c", d', ''],
      ['two\r\nlines', '', 'é'],
      ['last'],
    ])
    expect(texts('\uFEFFface,speech\n')).toEqual([['face', 'speech']])
    expect(texts('')).toEqual([])
  })

  test('says in which line and column a field starts, also after a field of several lines', () => {
    const [, record] = parseCsv('a\n"x\ny",b,\n')
    expect(record?.line).toBe(2)
    expect(record?.fields.map(({ column }) => column)).toEqual([1, 4, 6])
    expect(() => parseCsv('a\n"x\ny",b"c')).toThrow(/^line 3, column 5: a field with a quote must be in quotes/)
  })

  test.each([
    ['a,b\nc,"d', 'line 2, column 3: the quote that starts here is never closed'],
    ['a,b\nc,"d" ', 'line 2, column 6: after a closing quote comes a comma or the end of the line'],
    ['a"b', 'line 1, column 2: a field with a quote must be in quotes, and the quote doubled'],
  ])('refuses %j', (text, message) => {
    expect(() => parseCsv(text)).toThrow(new UsageError(message))
  })

  test('reads back every table that is written by the RFC, with any line end', () => {
    const table = fc.array(
      fc.array(fc.string({ unit: fc.constantFrom('a', 'b', ',', '"', '\r', '\n', ';', '\t', ' ', 'é') }), {
        minLength: 1,
      }),
    )
    fc.assert(
      fc.property(table, fc.constantFrom('\n', '\r\n'), fc.boolean(), (rows, end, allQuoted) => {
        const quote = (text: string) => (allQuoted || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)
        const filled = rows.filter((row) => row.length > 1 || row[0] !== '')
        expect(texts(filled.map((row) => row.map(quote).join(',')).join(end))).toEqual(filled)
      }),
    )
  })

  test('answers every other text with records or an error at a place that exists', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('a', ',', '"', '\r', '\n', ' ') }), (text) => {
        try {
          for (const { line, fields } of parseCsv(text)) {
            expect(line).toBeLessThanOrEqual(text.split(/\r\n|\n|\r/).length)
            expect(fields.length).toBeGreaterThan(0)
          }
        } catch (error) {
          const [, line, column] = /^line (\d+), column (\d+): /.exec((error as Error).message)!
          const lines = text.split(/\r\n|\n|\r/)
          expect(Number(column)).toBeLessThanOrEqual((lines[Number(line) - 1]?.length ?? -1) + 1)
        }
      }),
    )
  })

  test('takes a field of three million characters', () => {
    const long = 'a""'.repeat(1_000_000)
    expect(texts(`"${long}"`)[0]?.[0]).toHaveLength(2_000_000)
  })
})

describe('the rows of a batch', () => {
  test('are jobs with options, labels and an output, and defaults for what they leave out', () => {
    const text = `face,speech,output,version,priority,timeout_seconds,parameters.extra_margin,metadata.scene
a.mp4,b.wav,,,,,,
"a,b.mp4",https://media.example.com/speech%201.mp3?token=x,,v1,high,60,5,12
a.mp4,server:b.wav,deep/c.mov,,,,,`
    const defaults = { ...NONE, reuse: true, timeoutSeconds: 90, parameters: { extra_margin: '1', fps: '25' } }
    expect(parseRows(text, defaults)).toMatchObject([
      {
        line: 2,
        output: 'b.mp4',
        job: { reuse: true, timeoutSeconds: 90, parameters: { extra_margin: '1', fps: '25' } },
      },
      {
        ...{ line: 3, output: 'speech 1.mp4' },
        job: {
          ...{ face: 'a,b.mp4', version: 'v1', priority: 'high', timeoutSeconds: 60, metadata: { scene: '12' } },
          parameters: { extra_margin: '5', fps: '25' },
        },
      },
      { line: 4, output: join('deep', 'c.mov') },
    ])
  })

  test('have an output named by the path of the speech as it is, where its percent signs encode nothing', () => {
    const text = 'face,speech\na,https://media.example.com/all%.wav\na,https://media.example.com/100%25.wav'
    const rows = parseRows(text, NONE)
    expect(rows.map(({ output }) => output)).toEqual(['all%.mp4', '100%.mp4'])
  })

  test.each([
    ['', /^the file is empty; its first line names the columns/],
    ['face,audio', /^line 1, column 6: there is no column "audio"; the columns are face, speech, output,/],
    ['face,speech,face', /^line 1, column 13: the column "face" is there twice/],
    ['face,output', /^line 1, column 1: the column "speech" is missing/],
    ['face,speech\na,b,c', /^line 2, column 5: the line has 3 fields, the first line 2/],
    ['face,speech\na', /^line 2, column 1: the line has 1 fields, the first line 2/],
    ['face,speech\n,b', /^line 2, column 1: the field "face" is empty/],
    ['face,speech,timeout_seconds\na,b,soon', /^line 2, column 5: timeout_seconds soon: must be a whole number/],
    ['face,speech,output\na,b,../c', /^line 2, column 5: the output "..\/c" must be a path below/],
    ['face,speech,output\na,b,/c', /^line 2, column 5: the output "\/c" must be a path below/],
    ['face,speech\na,b.wav\na,B.mp3', /^line 3, column 1: the output "B.mp4" is that of line 2 too/],
  ])('%j are refused with line and column', (text, message) => {
    expect(() => parseRows(text, NONE)).toThrow(message)
  })
})

describe('a request', () => {
  const job = { ...NONE, face: 'face.mp4', speech: 'speech.wav' }
  const parts = { url: 'http://jobs.example', more: [] }
  function inFolder() {
    const folder = temporaryFolder()
    for (const name of ['face.mp4', 'speech.wav', 'face.PNG']) writeFileSync(join(folder, name), name)
    return { folder, prepared: (more: object) => prepare({ ...job, folder, ...more }, createFiles(), parts) }
  }

  test('has a key of the content of its files and its options, not of their names', async () => {
    const { folder, prepared } = inFolder()
    const { key } = await prepared({ metadata: { a: '1', b: '2' } })
    writeFileSync(join(folder, 'other.mp4'), 'face.mp4')
    expect((await prepared({ face: 'other.mp4', metadata: { b: '2', a: '1' } })).key).toBe(key)
    writeFileSync(join(folder, 'face.mp4'), 'another face')
    const keys = [key, (await prepared({})).key]
    for (const more of [
      { version: 'v1' },
      { priority: 'low' },
      { reuse: true },
      { timeoutSeconds: 5 },
      { parameters: { fps: '5' } },
      { speech: 'face.mp4' },
    ]) {
      keys.push((await prepared(more)).key)
    }
    for (const other of [
      { ...parts, url: 'http://other.example' },
      { ...parts, more: ['a.mp4'] },
    ]) {
      keys.push((await prepare({ ...job, folder }, createFiles(), other)).key)
    }
    expect(new Set(keys).size).toBe(keys.length)
  })

  test('names URLs and files of the server, and sends other files', async () => {
    const { prepared } = inFolder()
    const fields = async (more: object) => Object.keys((await prepared(more)).request).toSorted()
    expect(await fields({})).toEqual(['audio', 'video'])
    expect(await fields({ face: 'face.PNG' })).toEqual(['audio', 'image'])
    expect(await fields({ face: 'server:a.png', speech: 'server:b.wav' })).toEqual(['audio_path', 'video_path'])
    expect(await fields({ face: 'https://a.example/a.jpg?v=1', speech: 'http://a.example/b' })).toEqual([
      ...['audio_url', 'image_url'],
    ])
    const { request } = await prepared({
      parameters: { fps: '-5', parsing_mode: 'raw', use_float16: 'false', a: '05' },
    })
    expect(request.parameters).toEqual({ fps: -5, parsing_mode: 'raw', use_float16: false, a: 5 })
  })

  test('of a file that is missing or a folder is refused', async () => {
    const { prepared, folder } = inFolder()
    await expect(prepared({ face: 'none.mp4' })).rejects.toThrow(`${join(folder, 'none.mp4')}: cannot be read (ENOENT)`)
    await expect(prepared({ speech: '.' })).rejects.toThrow(/: is not a file$/)
  })
})

describe('the journal of a folder', () => {
  test('remembers over runs, and reads past a line that was cut off', async () => {
    const folder = join(temporaryFolder(), 'new')
    const journal = await openJournal(folder)
    await journal.add('a', { job_id: '1' })
    await journal.addOutput('a', join(folder, 'a.mp4'), 3)
    writeFileSync(join(folder, JOURNAL_NAME), `${readFileSync(join(folder, JOURNAL_NAME), 'utf8')}{"key":"b","jo`)
    const again = await openJournal(folder)
    await again.add('c', { job_id: '3' })
    const last = await openJournal(folder)
    expect([last.get('a'), last.get('b'), last.get('c')]).toEqual([
      ...[{ job_id: '1', file: 'a.mp4', size: 3 }, {}, { job_id: '3' }],
    ])
    expect(await last.isComplete('a', join(folder, 'a.mp4'))).toBe(false)
    writeFileSync(join(folder, 'a.mp4'), 'abc')
    expect(await last.isComplete('a', join(folder, 'a.mp4'))).toBe(true)
    expect(await last.isComplete('a', join(folder, 'c.mp4'))).toBe(false)
    expect(await last.isComplete('c', join(folder, 'a.mp4'))).toBe(false)
    writeFileSync(join(folder, 'a.mp4'), 'ab')
    expect(await last.isComplete('a', join(folder, 'a.mp4'))).toBe(false)
  })
})

describe('an output', () => {
  /** Serves videos of 100 bytes as the server does, of which it sends the first 40 while `isCut`. */
  function serve(videos: Readonly<Record<string, string>>) {
    const server = { isCut: true, ranges: [] as number[] }
    const download: Client['download'] = (id, { from } = {}) => {
      const etag = `"${id}"`
      const offset = from?.etag === etag ? from.offset : 0
      server.ranges.push(offset)
      const bytes = Buffer.from(videos[id] ?? '').subarray(offset)
      const body = (async function* () {
        yield bytes.subarray(0, 40)
        if (server.isCut) throw new Error('cut')
        yield bytes.subarray(40)
      })()
      const headers = new Headers({ etag, 'content-length': String(bytes.length) })
      return Promise.resolve({ status: offset > 0 ? 206 : 200, headers, body } as unknown as Download)
    }
    return { server, client: { download } as Client }
  }

  test('of a job continues its own interrupted download, not that of another job of the same second', async () => {
    const newId = createUuids(() => 1_750_000_000_000)
    const [first, second] = [newId(), newId()]
    expect(first.slice(0, 8)).toBe(second.slice(0, 8))
    const { server, client } = serve({ [first]: '1'.repeat(100), [second]: '2'.repeat(100) })
    const path = join(temporaryFolder(), 'out.mp4')
    const etags = new Map<string, string>()
    const save = (id: string) =>
      saveOutput({
        ...{ client, id, path, etag: etags.get(id), signal: new AbortController().signal, onBytes: () => undefined },
        onEtag: async (etag) => void etags.set(id, etag),
      })
    await expect(save(first)).rejects.toThrow('cut')
    await expect(save(second)).rejects.toThrow('cut')
    server.isCut = false
    expect(await save(first)).toBe(100)
    expect(readFileSync(path, 'utf8')).toBe('1'.repeat(100))
    expect(server.ranges).toEqual([0, 0, 40])
  })
})

describe('progress on a terminal', () => {
  const NOW = Date.parse('2026-01-31T12:02:00Z')
  const job = { job_id: '1', status: 'running', created_at: '2026-01-31T12:00:00Z' } as never
  const line = (more: object, columns = 80) => progressLine(Object.assign({}, job, more), NOW, columns)

  test('has the step, the percentage and the time that is left, as far as they are known', () => {
    expect(line({ status: 'submitted', queue_position: 3 })).toBe('queued (position 3), 2 min so far')
    expect(line({ stage: 'queued' })).toBe('waiting for the backend, 2 min so far')
    expect(line({ stage: 'running' })).toBe('running, 2 min so far')
    const known = { progress: { step: 'landmarks', percent: 50 }, estimated_finish_at: '2026-01-31T12:05:00Z' }
    expect(line(known)).toBe('[==========>         ]  50 % landmarks, about 3 min left')
    expect(line({ ...known, progress: { percent: 100 } })).toContain('[====================] 100 % running')
    expect(line({ estimated_finish_at: '2026-01-31T12:01:00Z' })).toBe('running, about to finish')
    const counts = { succeeded: 3, complete: 1, failed: 1, running: 2, startedAt: NOW - 180_000 }
    expect(statusLine(counts, 10, { nowMs: NOW, columns: 90 })).toBe(
      '[==========>         ]  50 % 5 of 10 done, 2 at the server, 1 failed, about 5 min left',
    )
  })

  test('is never longer than the line, and its bar has the same length at every percentage', () => {
    const text = fc.string({ maxLength: 50 })
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 100 }),
        text,
        fc.integer({ min: 70, max: 200 }),
        (percent, text, columns) => {
          const bar = barLine(percent, text, columns)
          expect(bar.length).toBe(barLine(0, text, columns).length)
          expect(bar.length).toBeLessThan(columns)
        },
      ),
    )
  })

  test('replaces the line before, gives way to a note, and is nothing elsewhere', () => {
    const written = (isTTY: boolean, isJson: boolean) => {
      const texts: string[] = []
      const output = { write: (text: string) => texts.push(text), isTTY, columns: 10 }
      const report = createReport({ stdout: output, stderr: output }, isJson)
      for (const text of ['0123456789', '0123456789', 'b']) report.status(text)
      report.note('a \u001B[31mnote')
      report.data({ a: 1 })
      return texts.join('')
    }
    const clear = '\r\u001B[2K'
    expect(written(true, false)).toBe(`${clear}012345678${clear}b${clear}a  [31mnote\n`)
    expect(written(false, false)).toBe('a  [31mnote\n')
    expect(written(true, true)).toBe('{"a":1}\n')
  })

  test.each([
    [400, '0 s'],
    [59_400, '59 s'],
    [60_000, '1 min'],
    [3_600_000, '1 h'],
    [7_500_000, '2 h 5 min'],
  ])('%d ms are %s', (ms, text) => expect(durationText(ms)).toBe(text))
})

describe('an error', () => {
  const problem = (status: number, body: object, headers = {}) =>
    new ProblemError(new Response('', { status, headers }), { status, ...body } as never)
  const refused = new TypeError('fetch failed', { cause: Object.assign(new Error('x'), { code: 'ECONNREFUSED' }) })
  const full = Object.assign(new Error("ENOSPC: no space left, write '/out'"), { syscall: 'write', path: '/out' })

  test.each([
    [refused, 3, 'cannot reach http://a.example (ECONNREFUSED); start the server, or set MUSETALK_URL'],
    [problem(401, { code: 'unauthorized' }), 3, /set MUSETALK_API_KEY to a valid key/],
    [problem(503, { detail: 'The queue is full.' }), 3, 'The queue is full.'],
    [problem(400, { detail: 'fps: must be a\nnumber' }), 2, 'fps: must be a number'],
    [
      problem(422, { detail: 'No.', errors: [{ path: '/audio', message: 'has no sound' }] }),
      2,
      'No. audio: has no sound',
    ],
    [new JobError('job 1 failed'), 1, 'job 1 failed'],
    [new UsageError('FACE is missing'), 2, 'FACE is missing'],
    [full, 4, /no space left/],
  ])('%s has an exit code and one line that says what to do', (error, code, message) => {
    expect(exitCodeOf(error)).toBe(code)
    expect(messageOf(error, 'http://a.example')).toMatch(message)
    expect(messageOf(error, 'http://a.example')).not.toContain('\n')
  })

  test('in a pair names the option and its form', () => {
    expect(pairsOf(['a=b=c', 'a=d', 'e='], 'metadata')).toEqual({ a: 'd', e: '' })
    expect(() => pairsOf(['=a'], 'metadata')).toThrow('--metadata =a: must have the form KEY=VALUE')
  })

  /** How often work that keeps failing is done, and when in the end it rejects, in s. */
  async function retried(error: Error, { unreachableMs, failures }: { unreachableMs: number; failures: number }) {
    vi.useFakeTimers()
    const startedAt = Date.now()
    let calls = 0
    const work = async () => {
      if (++calls <= failures) throw error
    }
    const onPause = vi.fn()
    const done = retryTransient(work, { signal: new AbortController().signal, unreachableMs, onPause })
    const ended = done.then(() => 'done', String)
    await vi.runAllTimersAsync()
    return { calls, end: await ended, seconds: (Date.now() - startedAt) / 1000, pauses: onPause.mock.calls.length }
  }

  test('that says when to come back is waited for, however often', async () => {
    const busy = problem(429, {}, { 'retry-after': '100' })
    expect(await retried(busy, { unreachableMs: 0, failures: 20 })).toEqual({
      ...{ calls: 21, end: 'done', seconds: 2000, pauses: 20 },
    })
  })

  test('of the connection is repeated for the given time, and not before the server has answered', async () => {
    expect(await retried(refused, { unreachableMs: 60_000, failures: 5 })).toMatchObject({ calls: 6, end: 'done' })
    const gone = await retried(refused, { unreachableMs: 60_000, failures: 1000 })
    expect(gone.end).toBe('TypeError: fetch failed')
    expect(gone.seconds).toBeGreaterThanOrEqual(60)
    expect(gone.seconds).toBeLessThan(69)
    expect(await retried(refused, { unreachableMs: 0, failures: 1 })).toMatchObject({ calls: 1, seconds: 0 })
  })

  test('of the request is not repeated', async () => {
    const invalid = problem(422, { detail: 'No.' })
    expect(await retried(invalid, { unreachableMs: 60_000, failures: 1 })).toMatchObject({
      calls: 1,
      end: 'ProblemError: No.',
    })
  })
})
