import type { FieldError } from '../../problems.ts'
import type { JobInput, NamedInput } from '../../jobs/job.ts'
import { checkInputUrls } from '../../net/url-rule.ts'

/** The deployed function puts a path into a shell command, unquoted: no character of one may mean anything to a shell. */
const SAFE_PATH = /^\w[\w.-]*(\/\w[\w.-]*)*$/
/** A URL reaches the function as it is. It may have the characters of RFC 3986 and RFC 3987; these are of neither. */
const NOT_OF_URLS = /["<>^`{|}]/

const PATH_RULE =
  'must be names of letters, digits, _, - and ., separated by /, none of which begins with - or .: nothing else is safe on this backend'
const URL_RULE = 'must not contain " < > ^ ` { | or }; percent-encode them'

/**
 * What is wrong with an input as arguments of the deployed function. Modal fetches inputs itself: where it may connect to
 * is not this server's to say, but for `allowlist`.
 */
export function checkModalInput(input: JobInput, allowlist?: readonly string[]): FieldError[] {
  const errors = [...argumentErrors(input), ...checkInputUrls(input, { allowPrivate: true, allowlist })]
  return [...new Map(errors.map((error) => [error.path, error])).values()]
}

/** The part of it that must hold at each spawn too: a job may have been kept by a server that did not check it. */
export function argumentErrors(input: NamedInput): FieldError[] {
  const errorsOf = (fields: readonly (keyof NamedInput)[], isWrong: (value: string) => boolean, message: string) =>
    fields.filter((field) => isWrong(input[field] ?? '')).map((field) => ({ path: `/${field}`, message }))
  return [
    ...errorsOf(['video_path', 'audio_path'], (path) => path !== '' && !SAFE_PATH.test(path), PATH_RULE),
    ...errorsOf(['video_url', 'image_url', 'audio_url'], (url) => NOT_OF_URLS.test(url), URL_RULE),
  ]
}
