import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  createProgressParser,
  isSameReport,
  LINE_MAX_LENGTH,
  MAX_COUNT,
  type ProgressReport,
  STEP_MAX_LENGTH,
} from '../../src/jobs/progress.ts'

/** The progress after all pieces. */
function read(...pieces: string[]): ProgressReport | undefined {
  const parse = createProgressParser()
  return pieces.reduce<ProgressReport | undefined>((last, piece) => parse(piece) ?? last, undefined)
}

const json = (musetalk: unknown) => `${JSON.stringify({ musetalk })}\n`

describe('a bar of tqdm', () => {
  test.each<[string, string, ProgressReport]>([
    ['at its start', '  0%|          | 0/200 [00:00<?, ?it/s]', { done: 0, total: 200, percent: 0 }],
    ['of blocks', ' 42%|████▏     | 84/200 [01:10<01:37,  1.19it/s]', { done: 84, total: 200, percent: 42 }],
    ['of ASCII', '\r 42%|####2     | 84/200 [01:10<01:37,  1.19it/s]', { done: 84, total: 200, percent: 42 }],
    ['with a slow rate', ' 50%|#####     | 1/2 [00:09<00:09,  9.10s/it]', { done: 1, total: 2, percent: 50 }],
    [
      'that is full',
      'lips: 100%|██████████| 200/200 [00:10<00:00, 19.90it/s]\n',
      { step: 'lips', done: 200, total: 200, percent: 100 },
    ],
    [
      'that tqdm rounds up to full',
      '100%|█████████▉| 1999/2000 [00:10<00:00, 19.90it/s]',
      { done: 1999, total: 2000, percent: 99 },
    ],
    [
      'of hours, with a postfix',
      'train: 10%|█         | 10/100 [1:02:03<9:18:27, 372.30s/it, loss=[0.1], lr=1e-5]',
      { step: 'train', done: 10, total: 100, percent: 10 },
    ],
    [
      'with a remaining time below zero',
      ' 50%|#####     | 1/2 [00:09<-1:59:51,  9.10s/it]',
      { done: 1, total: 2, percent: 50 },
    ],
    [
      'of checkpoint shards, without a rate',
      'Loading checkpoint shards: 100%|██████████| 2/2 [00:01<00:00]',
      { step: 'Loading checkpoint shards', done: 2, total: 2, percent: 100 },
    ],
    [
      'without room for the bar',
      'lips:  42% 84/200 [01:10<01:37]',
      { step: 'lips', done: 84, total: 200, percent: 42 },
    ],
    ['with a scale', 'weights:  35%|███▌ | 1.20k/3.40k [00:01<00:02, 1.02kB/s]', { step: 'weights', percent: 35 }],
    ['with a scale, nearly full', '100%|█████████▉| 3.39G/3.40G [00:01<00:00, 99.0MB/s]', { percent: 99 }],
    ['of fractions', ' 50%|█████     | 0.5/1.0 [00:01<00:01,  2.00s/it]', { percent: 50 }],
    ['without a total', '84it [00:10,  8.30it/s]', { done: 84 }],
    ['without a total, slow', 'frames: 3frame [00:30, 10.00s/frame]', { step: 'frames', done: 3 }],
    ['without a total, at its start', '0it [00:00, ?it/s]', { done: 0 }],
    [
      'in colours, with the cursor moved',
      '\x1b[32mlips\x1b[0m:  42%|\x1b[31m####\x1b[0m  | 84/200 [01:10<01:37,  1.19it/s]\x1b[A\n',
      { step: 'lips', done: 84, total: 200, percent: 42 },
    ],
    [
      'after another in its line',
      'a: 100%|##| 2/2 [00:01<00:00, 2.0it/s] b:   0%|  | 0/5 [00:00<?, ?it/s]',
      { step: 'b', done: 0, total: 5, percent: 0 },
    ],
  ])('%s', (_what, text, expected) => {
    expect(read(text)).toEqual(expected)
  })

  test('counts as it was printed last, also when the next one begins', () => {
    const [faces, lips] = ['\rfaces: 100%|##| 8/8 [00:01<00:00, 8.0it/s]\n', '\r  0%|  | 0/5 [00:00<?, ?it/s]']
    expect(read(faces, 'something else\n')).toEqual({ step: 'faces', done: 8, total: 8, percent: 100 })
    expect(read(faces, lips)).toEqual({ done: 0, total: 5, percent: 0 })
    expect(read(faces, lips, '\r 20%|# ')).toEqual({ done: 0, total: 5, percent: 0 })
    expect(read(faces, lips, '\r 20%|# ', '| 1/5 [00:01<00:04, 1.0it/s]')).toEqual({ done: 1, total: 5, percent: 20 })
  })

  test.each([
    ['more than there is', '142%|####| 284/200 [01:10<01:37, 1.19it/s]'],
    ['another percentage than its counts', ' 42%|####| 284/300 [01:10<01:37, 1.19it/s]'],
    ['negative counts', ' 42%|####| -84/200 [01:10<01:37, 1.19it/s]'],
    ['no number', 'nan%|####| nan/200 [01:10<01:37, 1.19it/s]'],
    ['infinity', '  0%|    | 0/inf [01:10<?, 1.19it/s]'],
    ['10^12 frames', '  0%|    | 5/1000000000000 [01:10<?, 1.19it/s]'],
    ['10^12 frames without a total', '1000000000000it [01:10, 1.19it/s]'],
    ['a rounded count without a total', '120kit [00:10, 12.0kit/s]'],
    ['a count with separators', '1,200it [00:10, 12.0it/s]'],
    ['a negative count without a total', '-84it [00:10, 8.3it/s]'],
    ['a date', 'done 84/200 [2026-01-31]'],
    ['a percentage alone', 'memory: 42%|'],
  ])('with %s is none', (_what, text) => {
    expect(read(text, '\n')).toBeUndefined()
  })
})

describe('a line of JSON', () => {
  test.each<[unknown, ProgressReport | undefined]>([
    [
      { step: 'landmarks', done: 40, total: 200 },
      { step: 'landmarks', done: 40, total: 200, percent: 20 },
    ],
    [{ step: 'models' }, { step: 'models' }],
    [
      { step: 'frames', done: 7 },
      { step: 'frames', done: 7 },
    ],
    [
      { step: 'frames', total: 7 },
      { step: 'frames', total: 7 },
    ],
    [
      { step: 'frames', done: 0, total: 0 },
      { step: 'frames', done: 0 },
    ],
    [{ step: 'frames', done: 2 / 3, total: 1 }, undefined],
    [{ step: 'frames', done: -1, total: 7 }, undefined],
    [{ step: 'frames', done: 8, total: 7 }, undefined],
    [{ step: 'frames', done: '1', total: 7 }, undefined],
    [{ step: 'frames', done: null, total: 7 }, undefined],
    [{ step: 'frames', done: 1, total: MAX_COUNT + 1 }, undefined],
    [{ step: 'frames', done: 1, total: 1e300 }, undefined],
    [{ step: ' \n ', done: 1, total: 7 }, undefined],
    [{ done: 1, total: 7 }, undefined],
    [{ step: 5 }, undefined],
    [[1], undefined],
    [null, undefined],
  ])('%j', (musetalk, expected) => {
    expect(read(json(musetalk))).toEqual(expected)
  })

  test('is read once it is whole, however it is spaced, and other lines are not', () => {
    const line = '  { "musetalk" : {"total":200, "done":40,\t"step":"lips"} }  '
    expect(read(line)).toBeUndefined()
    expect(read(line, '\r\n')).toMatchObject({ step: 'lips', percent: 20 })
    expect(read(`log: ${line}\n`)).toBeUndefined()
    expect(read('{"musetalk": {"step": "lips"}\n')).toBeUndefined()
    expect(read('{"other": {"step": "lips"}}\n')).toBeUndefined()
  })

  test('replaces the bars: from the first one on they are not read', () => {
    const bar = '\r 42%|####  | 84/200 [01:10<01:37,  1.19it/s]'
    const line = json({ step: 'lips', done: 1, total: 4 })
    expect(read(bar, '\n', line, bar, '\n', bar)).toEqual({ step: 'lips', done: 1, total: 4, percent: 25 })
    expect(read(`${bar}\n${line}${bar}\n`)).toEqual({ step: 'lips', done: 1, total: 4, percent: 25 })
    // One that is not as it should be is text like any other.
    expect(read(json({ step: 'lips', done: 5, total: 4 }), bar)).toMatchObject({ percent: 42 })
  })

  test('names its step in one line of at most 64 characters', () => {
    expect(read(json({ step: ` a\n\tb\u0000${'👋'.repeat(100)}` }))).toEqual({
      step: `a b ${'👋'.repeat(STEP_MAX_LENGTH - 4)}`,
    })
    expect(read(json({ step: '\ud800' }))).toEqual({ step: '\ufffd' })
  })
})

const lines = fc.oneof(
  fc.constantFrom(
    ...[
      '\r 42%|####  | 84/200 [01:10<01:37,  1.19it/s]',
      'a:  50%|##  | 1/2 [00:01<00:01, 1.0s/it]',
      '\x1b[A',
      '\x1b[3',
    ],
    ...[
      '84it [00:10,  8.30it/s]',
      '35%|### | 1.20k/3.40k [00:01<00:02, 1.0kB/s]',
      'text ',
      '[INFO] ',
      '%|',
      '{',
      '\r\n',
    ],
    ...[
      json({ step: 'b', done: 3, total: 4 }),
      json({ step: 'c' }),
      json({ step: 'd', done: 9, total: 1 }),
      '\n',
      '\r',
    ],
  ),
  fc.string({ maxLength: 10 }),
  fc.nat(2 * LINE_MAX_LENGTH).map((length) => '#'.repeat(length)),
)

test('the last progress is the same wherever the text is cut into pieces', () => {
  fc.assert(
    fc.property(fc.array(lines, { maxLength: 12 }), fc.array(fc.nat(), { maxLength: 12 }), (texts, cuts) => {
      const text = texts.join('')
      const places = [...new Set(cuts.map((cut) => cut % (text.length + 1))), text.length].sort((a, b) => a - b)
      const pieces = places.map((place, n) => text.slice(places[n - 1] ?? 0, place))
      expect(read(...pieces)).toEqual(read(text))
      if (text.length < 500) expect(read(...text.split(/(?:)/u))).toEqual(read(text))
    }),
    { numRuns: 500 },
  )
})

test('whatever is printed, a progress is whole numbers in order', () => {
  const number = fc.oneof(
    fc.integer(),
    fc.double(),
    fc.bigInt().map(String),
    fc.constantFrom('NaN', '-0', '1e9', '0x1'),
  )
  const printed = fc
    .tuple(number, number, number)
    .chain(([percent, done, total]) =>
      fc.constantFrom(
        `${String(percent)}%|###| ${String(done)}/${String(total)} [00:01<00:01, 1.0it/s]\n`,
        `${String(done)}it [00:01, 1.0it/s]\n`,
        `{"musetalk": {"step": "a", "done": ${String(done)}, "total": ${String(total)}}}\n`,
      ),
    )
  fc.assert(
    fc.property(fc.array(printed, { maxLength: 5 }), (texts) => {
      const { done = 0, total = MAX_COUNT, percent = 0 } = read(...texts) ?? {}
      for (const count of [done, total, percent]) expect(Number.isSafeInteger(count)).toBe(true)
      expect(done).toBeGreaterThanOrEqual(0)
      expect(done).toBeLessThanOrEqual(total)
      expect(total).toBeLessThanOrEqual(MAX_COUNT)
      expect(percent).toBeGreaterThanOrEqual(0)
      expect(percent).toBeLessThanOrEqual(100)
      if (percent === 100) expect(done).toBe(total === MAX_COUNT ? done : total)
    }),
    { numRuns: 2_000 },
  )
})

describe('what is printed without measure', () => {
  test('a line of a megabyte is passed over, and the next one is read', () => {
    const long = '#'.repeat(1024 * 1024)
    const parse = createProgressParser()
    expect(parse(` 42%|${long}| 84/200 [01:10<01:37, 1.19it/s]`)).toBeUndefined()
    expect(parse(`${long}\r`)).toBeUndefined()
    expect(parse(`{"musetalk": {"step": "${long}"}}\n`)).toBeUndefined()
    expect(parse(' 42%|#| 84/200 [01:10<01:37, 1.19it/s]')).toEqual({ done: 84, total: 200, percent: 42 })
  })

  // If reading took longer for each line than the one before, this would take minutes.
  test.each([
    [
      'bars',
      (n: number) => `\r 42%|####      | 84/200 [01:10<01:37,  1.19it/s]${n % 7 === 0 ? '\n' : ''}`,
      { done: 84, total: 200, percent: 42 },
    ],
    [
      'lines of JSON',
      (n: number) => json({ step: 'lips', done: n % 200, total: 200 }),
      { step: 'lips', done: 199, total: 200, percent: 99 },
    ],
    ['wrong lines of JSON', () => json({ step: 'lips', done: 300, total: 200 }), undefined],
    ['wrong bars', () => '142%|####      | 84/200 [01:10<01:37,  1.19it/s]\n', undefined],
    ['halves of bars', () => ' 5%| [ 1/2 [0:0 ', undefined],
  ])('100,000 %s leave the last report that is right', (_what, print, expected) => {
    const text = Array.from({ length: 100_000 }, (_, n) => print(n)).join('')
    const parse = createProgressParser()
    let last: ReturnType<typeof parse>
    for (let at = 0; at < text.length; at += 64 * 1024) last = parse(text.slice(at, at + 64 * 1024)) ?? last
    expect(last).toEqual(expected)
  })
})

test('reports are the same if all that they say is the same', () => {
  const report = { step: 'a', done: 1, total: 2, percent: 50 }
  expect(isSameReport(report, { ...report })).toBe(true)
  expect(isSameReport(undefined, report)).toBe(false)
  for (const other of [{ step: 'b' }, { done: 2 }, { total: 3 }, { percent: 51 }]) {
    expect(isSameReport(report, { ...report, ...other })).toBe(false)
  }
})
