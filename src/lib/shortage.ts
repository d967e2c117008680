/** What a machine can run out of. */
export type Shortage = 'disk space' | 'file descriptors' | 'memory' | 'processes'

/** By the code of a system error. A file that is larger than the machine allows (`EFBIG`) finds no room either. */
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

/** The shortage that an error, or what caused it, stems from: no fault of whoever made the request. */
export function shortageOf(error: unknown): Shortage | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const shortage = 'code' in cause ? BY_CODE[String(cause.code)] : undefined
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

/** The shortage that a program reports in what it prints. */
export const shortageIn = (output: string): Shortage | undefined =>
  BY_MESSAGE.find(([message]) => message.test(output))?.[1]
