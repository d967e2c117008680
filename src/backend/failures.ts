import { stripVTControlCharacters } from 'node:util'
import type { ErrorCode } from '../jobs/job.ts'
import type { Outcome } from '../jobs/ports/backend.ts'
import { reduceUrls } from '../net/url-rule.ts'

/**
 * Messages of known failures of MuseTalk (commit 0a89dec), its libraries, ffmpeg, and the functions of `modal_app/`.
 * Anything else is `inference_failed`.
 */
const KNOWN_FAILURES: readonly (readonly [code: ErrorCode, message: RegExp])[] = [
  // Of modal_app/inputs.py.
  [
    'input_unavailable',
    /^(?:video|image|audio)_\w+: (?:no such file|cannot be fetched|no valid URL|larger than [\d.]+ MiB)/m,
  ],
  ['face_not_found', /\bno faces?(?: (?:was|were|is|are|could be))? (?:found|detected|in)\b/i],
  ['face_not_found', /\bno faces?\b['".!)]*$/im],
  ['face_not_found', /\bfaces? (?:(?:was|were|is|are) )?not (?:found|detected)\b/i],
  [
    'face_not_found',
    /\b(?:cannot|can't|could not|couldn't|did not|unable to|failed to) (?:find|detect) (?:a |any |the )?faces?\b/i,
  ],
  ['face_not_found', /\berror, no person_segment\b/],
  // Of modal_app/inputs.py and media.py.
  [
    'invalid_media',
    /^(?:video|image|audio)_\w+: (?:cannot be decoded|has no (?:sound|picture)|the file is empty|not a video, image or sound|(?:long|short)er than [\d.]+ s|its \d+ frames need)/m,
  ],
  [
    'invalid_media',
    /Invalid data found when processing input|moov atom not found|does not contain any stream|matches no streams/,
  ],
  // libsndfile, audioread, Pillow and OpenCV.
  [
    'invalid_media',
    /\bFormat not recognised\b|data in an unknown format|\bNoBackendError\b|cannot identify image file/,
  ],
  ['invalid_media', /!_src\.empty\(\) in function 'cvtColor'/],
  ['invalid_media', /should be a video file, an image file or a directory of images/],
  // OpenCV's rate of a video that it cannot open is 0, and MuseTalk divides by it.
  ['invalid_media', /^Error occurred during processing: float division by zero$/m],
]

/** How much of a reason is searched, in characters. */
const SEARCHED_LENGTH = 10_000

/** The error code of a run that failed for this reason: that of the first known message in it. */
export const errorCodeOf = (reason: string): ErrorCode =>
  KNOWN_FAILURES.find(([, message]) => message.test(reason.slice(0, SEARCHED_LENGTH)))?.[0] ?? 'inference_failed'

/** How much of the end of a log is read, in characters. */
const TAIL_LENGTH = 64 * 1024
/** How many last lines of a log an error has, each cut to this length. */
const LINES = 5
const LINE_MAX_LENGTH = 300
/** What tqdm draws: ` 45%|####      | 9/20 [00:03<00:04]`, or without a total `84it [00:10, 8.3it/s]`. */
const PROGRESS_BAR = /\d%\||\dit \[\d+:\d+, +\S+\]/
/** How much of a line is searched, in characters. */
const SEARCHED_LINE_LENGTH = 2_000

/** The last lines of a log, as a terminal shows them: an overwritten line counts in its last state. */
function linesOf(text: string): string[] {
  const lines = stripVTControlCharacters(text.slice(-TAIL_LENGTH)).split(/\r?\n/)
  return lines
    .map((line) => line.split('\r').findLast((state) => state.trim() !== '') ?? '')
    .map((line) =>
      line
        .trim()
        .slice(0, SEARCHED_LINE_LENGTH)
        .replace(/\p{Cc}/gu, ' '),
    )
    .filter((line) => line !== '')
}

const isBar = (line: string) => PROGRESS_BAR.test(line)

/** The last lines of a log that explain anything, joined by line feeds: no progress bars, URLs reduced to their host. */
export const lastLinesOf = (text: string, count = LINES): string =>
  linesOf(text)
    .filter((line) => !isBar(line))
    .slice(-count)
    .map((line) => reduceUrls(line).slice(0, LINE_MAX_LENGTH))
    .join('\n')

/** A line that says why a program failed: MuseTalk prints what it catches, Python the exception. */
const REASON_LINE = /^(?:Error occurred|[\w.]*(?:Error|Exception)\b)/

/** MuseTalk divides by the number of faces after it has looked for them in each frame; without frames too. */
const FACELESS = /bbox_shift parameter adjustment\*+\nError occurred during processing: division by zero$/m
const NO_FRAMES = /^0it \[/m

/** The error code of a run that gave no reason, by the end of its log. */
export function errorCodeOfLog(text: string): ErrorCode {
  const lines = linesOf(text)
  if (FACELESS.test(lines.filter((line) => !isBar(line)).join('\n'))) {
    return NO_FRAMES.test(lines.join('\n')) ? 'inference_failed' : 'face_not_found'
  }
  const last = lastLinesOf(text)
  return errorCodeOf(last.split('\n').findLast((line) => REASON_LINE.test(line)) ?? last)
}

/** The outcome of a run that gave no reason, explained by the end of its log. */
export function explainByLog(outcome: Outcome, log: string): Outcome {
  const lines = lastLinesOf(log)
  if (outcome.kind === 'succeeded' || lines === '') return outcome
  const error = `${outcome.error}; the last lines of its log:\n${lines}`
  if (outcome.kind !== 'failed' || outcome.code !== 'inference_failed') return { ...outcome, error }
  return { ...outcome, error, code: errorCodeOfLog(log) }
}
