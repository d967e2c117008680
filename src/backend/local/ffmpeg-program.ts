import { access, chmod, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { RunFailure } from './run-failure.ts'

/** Looks on PATH, then for the development dependency. Not remembered when missing: it may be installed any time. */
export async function findFfmpeg(searchPath = ''): Promise<string> {
  for (const folder of searchPath.split(delimiter).filter(Boolean)) {
    const candidate = join(folder, 'ffmpeg')
    if (await isProgram(candidate)) return candidate
  }
  try {
    const { path } = (await import('@ffmpeg-installer/ffmpeg')).default
    // An install that ran no scripts leaves it without the executable bit.
    if (!(await isProgram(path))) await chmod(path, 0o755)
    return path
  } catch (cause) {
    const remedy = 'install it (Debian: apt-get install ffmpeg; macOS: brew install ffmpeg) or put it on PATH'
    throw new RunFailure('backend_rejected', `ffmpeg was not found: ${remedy}`, { cause })
  }
}

/** Rejects with `RunFailure` if a program cannot be started. */
export async function checkProgram(path: string): Promise<void> {
  await access(path, constants.X_OK).catch((cause: unknown) => {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : ''
    throw new RunFailure('backend_rejected', `ffmpeg could not be started (${code})`, { cause })
  })
}

const isProgram = (path: string): Promise<boolean> =>
  access(path, constants.X_OK).then(
    () => true,
    () => false,
  )
