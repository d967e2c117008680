import type { FieldError } from '../../problems.ts'
import type { JobInput, NamedInput } from '../../jobs/job.ts'
import { checkInputUrls } from '../../net/url-rule.ts'

/** The deployed function puts a path into a shell command, unquoted: none of its characters may be special to a shell. */
const SAFE_PATH = /^\w[\w.-]*(\/\w[\w.-]*)*$/
/** A URL reaches the function unchanged. These characters are neither in RFC 3986 nor in RFC 3987. */
const NOT_OF_URLS = /["<>^`{|}]/

const PATH_RULE =
  'must be names of letters, digits, _, - and ., separated by /, none of which begins with - or .: nothing else is safe on this backend'
const URL_RULE = 'must not contain " < > ^ ` { | or }; percent-encode them'

/**
 * The errors of an input as arguments of the deployed function. Modal fetches inputs itself, so only `allowlist` limits
 * the hosts that it may connect to.
 */
export function checkModalInput(input: JobInput, allowlist?: readonly string[]): FieldError[] {
  const errors = [...argumentErrors(input), ...checkInputUrls(input, { allowPrivate: true, allowlist })]
  return [...new Map(errors.map((error) => [error.path, error])).values()]
}

/** The part that is checked again at each spawn: an earlier release may have accepted the job without it. */
export function argumentErrors(input: NamedInput): FieldError[] {
  const errorsOf = (fields: readonly (keyof NamedInput)[], isWrong: (value: string) => boolean, message: string) =>
    fields.filter((field) => isWrong(input[field] ?? '')).map((field) => ({ path: `/${field}`, message }))
  return [
    ...errorsOf(['video_path', 'audio_path'], (path) => path !== '' && !SAFE_PATH.test(path), PATH_RULE),
    ...errorsOf(['video_url', 'image_url', 'audio_url'], (url) => NOT_OF_URLS.test(url), URL_RULE),
  ]
}
