import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { errorCodeOf, errorCodeOfLog, explainByLog, lastLinesOf } from '../../src/backend/failures.ts'
import { outcomeOfResult, outcomeOfValue } from '../../src/backend/modal/outcome.ts'
import { applyEvent, ERROR_MAX_LENGTH } from '../../src/jobs/apply-event.ts'
import type { JobEvent } from '../../src/jobs/job.ts'
import type { Outcome } from '../../src/jobs/ports/backend.ts'
import { anyText } from '../helpers/any-text.ts'
import { aJob, after, spawned } from '../helpers/jobs.ts'

describe('the code of a reason', () => {
  test.each([
    ['MuseTalk failed: no face was found', 'face_not_found'],
    ["RuntimeError('no face')", 'face_not_found'],
    ['no face was found in frame 12', 'face_not_found'],
    ["ValueError('No faces detected in the video.')", 'face_not_found'],
    ['Face not detected! Ensure the video contains a face in all the frames.', 'face_not_found'],
    ["Exception('Could not find a face')", 'face_not_found'],
    ['error, no person_segment', 'face_not_found'],
    ['video_url: cannot be decoded: video_url: Invalid data found when processing input', 'invalid_media'],
    ['audio_bytes: has no sound', 'invalid_media'],
    ['audio_url: longer than 1800 s', 'invalid_media'],
    ['video_bytes: its 15 frames need 0.0 GiB of memory, and there are 30', 'invalid_media'],
    ['image_url: not a video, image or sound of a known format', 'invalid_media'],
    ['[mov,mp4,m4a @ 0x55] moov atom not found', 'invalid_media'],
    ['LibsndfileError("Error opening \'speech.wav\': Format not recognised.")', 'invalid_media'],
    ['NoBackendError()', 'invalid_media'],
    ["UnidentifiedImageError('cannot identify image file <_io.BytesIO object>')", 'invalid_media'],
    [
      "error: OpenCV(4.9.0) color.cpp:196: error: (-215:Assertion failed) !_src.empty() in function 'cvtColor'",
      'invalid_media',
    ],
    ['a.webp should be a video file, an image file or a directory of images', 'invalid_media'],
    ['Error occurred during processing: float division by zero', 'invalid_media'],
    ['audio_path: no such file', 'input_unavailable'],
    ['video_url: cannot be fetched from a.example: status 404', 'input_unavailable'],
    ['video_url: larger than 1024 MiB', 'input_unavailable'],
    ['CUDA out of memory', 'inference_failed'],
    ['ZeroDivisionError: division by zero', 'inference_failed'],
    ['no face parsing model at models/face-parse-bisent', 'inference_failed'],
    ["MuseTalk's video is not as long as the speech; frames without a face may be missing", 'inference_failed'],
    ["FileNotFoundError: [Errno 2] No such file or directory: 'models/whisper'", 'inference_failed'],
    ['output: cannot be decoded: the disk is full', 'inference_failed'],
    ['', 'inference_failed'],
  ])('%j is %s', (reason, code) => {
    expect(errorCodeOf(reason)).toBe(code)
  })

  // An expression that backtracks would take hours for one of these.
  test('is found in a reason of two million characters', () => {
    for (const piece of ['no face ', '9', '9.', 'Error', 'a: ', 'no face)', '*', ' ']) {
      const reason = piece.repeat(2_000_000 / piece.length)
      expect(errorCodeOf(reason), piece).toMatch(/^(inference_failed|face_not_found)$/)
      errorCodeOfLog(reason)
      lastLinesOf(reason)
    }
  })
})

/** What MuseTalk prints up to the search for faces. */
const landmarks = (frames: string) =>
  `Extracting landmarks... time-consuming operation\nreading images...\n${frames}\n` +
  `get key_landmark and face bounding boxes with the default value\n${frames}\n` +
  `${'*'.repeat(44)}bbox_shift parameter adjustment${'*'.repeat(58)}\n`
const BAR = '\r  0%|          | 0/4 [00:00<?, ?it/s]\r100%|##########| 4/4 [00:00<00:00, 90.00it/s]'

describe('the code of a log', () => {
  const failed = (reason: string) => `Error occurred during processing: ${reason}\n`

  test('is face_not_found where MuseTalk divides by the number of faces, and a cold container prints after it', () => {
    expect(errorCodeOfLog(landmarks(BAR) + failed('division by zero'))).toBe('face_not_found')
    expect(errorCodeOfLog(`${landmarks(BAR)}${failed('division by zero')}no output\n`)).toBe('face_not_found')
  })

  test('is not where it had no frame to look at, or divides elsewhere', () => {
    const none = landmarks('0it [00:00, ?it/s]') + failed('division by zero')
    expect(errorCodeOfLog(none)).toBe('inference_failed')
    expect(errorCodeOfLog(`Starting inference\n${failed('division by zero')}`)).toBe('inference_failed')
  })

  test('is that of the line with the reason, not of a warning before it', () => {
    const warning = 'warning: no face detected in frame 3, skipped\n'
    expect(errorCodeOfLog(warning + failed('CUDA out of memory'))).toBe('inference_failed')
    expect(errorCodeOfLog(warning)).toBe('face_not_found')
    expect(errorCodeOfLog(`Traceback\nsoundfile.LibsndfileError: Error opening 'a': Format not recognised.\n`)).toBe(
      'invalid_media',
    )
  })
})

describe('the last lines of a log', () => {
  test('have no progress bars, no ANSI codes, and of a URL its host', () => {
    const log = `\u001b[31mone\u001b[0m\r\n${BAR}\nimages: 84it [00:10,  8.30it/s]\nfirst\rtwo https://a.example/face.png?sig=1\n\n`
    expect(lastLinesOf(log)).toBe('one\ntwo https://a.example/…')
  })

  test('are at most five, of at most 300 characters', () => {
    const lines = lastLinesOf(`${'x'.repeat(1_000_000)}\n`.repeat(9)).split('\n')
    expect(lines.map(({ length }) => length)).toEqual([300])
    expect(lastLinesOf('a\n'.repeat(9))).toBe('a\na\na\na\na')
  })
})

test('explainByLog keeps a code that is known, and adds nothing of an empty log', () => {
  const outcome = { kind: 'failed', code: 'backend_rejected', error: 'it cannot start' } as const
  expect(explainByLog(outcome, 'no face was found')).toMatchObject({ code: 'backend_rejected' })
  expect(explainByLog(outcome, ` \n${BAR}\n\u001b[0m`)).toBe(outcome)
})

describe('a job that fails', () => {
  const text = fc.oneof(anyText(), fc.constantFrom('', ' ', '\n', '\0', '\u001b[0m', 'AssertionError()'))
  const result = fc.record({ status: fc.nat(12), exception: text, traceback: text, exitcode: fc.integer() })
  const value = fc.oneof(
    fc.record({ status: fc.constantFrom('failed', 'unknown', 'succeeded', ''), error: fc.oneof(text, fc.anything()) }),
    fc.anything(),
  )
  const outcomes: fc.Arbitrary<Outcome> = fc
    .tuple(fc.oneof(result.map(outcomeOfResult), value.map(outcomeOfValue)), text)
    .map(([{ outcome }, log]) => explainByLog(outcome, log))

  test('has an error that is not empty, whatever its backend answers and its log has', () => {
    const job = after(aJob(), spawned())
    fc.assert(
      fc.property(outcomes, (outcome) => {
        if (outcome.kind === 'succeeded') return
        const { error: said } = outcome
        const event: JobEvent =
          outcome.kind === 'failed'
            ? { type: 'failed', attempt: 1, code: outcome.code, error: said }
            : { type: 'interrupted', attempt: 1, error: said, maxAttempts: 1 }
        const applied = applyEvent(job, event, Date.now())
        const error = applied.accepted ? (applied.job.error ?? '') : ''
        expect(error).toMatch(/[^\p{C}\p{Z}]/u)
        expect(error.length).toBeLessThanOrEqual(ERROR_MAX_LENGTH)
      }),
      { numRuns: 2_000 },
    )
  })
})
