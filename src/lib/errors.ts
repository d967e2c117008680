/** An error's message, else its code, else its name. An `AggregateError` of several addresses has no message. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.message || (codeOf(error) ?? error.name)
}

/** The `code` of an error of Node or of a library; undefined if it has none. */
export const codeOf = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error ? String(error.code) : undefined

/** What a machine can run out of. */
export type Shortage = 'disk space' | 'file descriptors' | 'memory' | 'processes'

/** By the code of a system error. `EFBIG`: the file is larger than the operating system allows. */
const BY_CODE: Readonly<Record<string, Shortage>> = {
  ENOSPC: 'disk space',
  EDQUOT: 'disk space',
  EFBIG: 'disk space',
  EMFILE: 'file descriptors',
  ENFILE: 'file descriptors',
  ENOMEM: 'memory',
  // Of `spawn`: no more processes or threads.
  EAGAIN: 'processes',
  // Of `import()`: the package.json of a module cannot be opened.
  ERR_INVALID_PACKAGE_CONFIG: 'file descriptors',
}

/** The shortage that caused an error, directly or through the causes of it; undefined: none. */
export function shortageOf(error: unknown): Shortage | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const shortage = BY_CODE[codeOf(cause) ?? '']
    if (shortage) return shortage
  }
  return undefined
}

/** By the message of the C library, which most programs print. */
const BY_MESSAGE: readonly (readonly [message: RegExp, shortage: Shortage])[] = [
  [/No space left on device|Disk quota exceeded/, 'disk space'],
  [/Too many open files/, 'file descriptors'],
  [/Resource temporarily unavailable/, 'processes'],
]

/** The shortage that a program reports in its output. */
export const shortageIn = (output: string): Shortage | undefined =>
  BY_MESSAGE.find(([message]) => message.test(output))?.[1]
