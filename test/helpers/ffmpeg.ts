import { accessSync, constants } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'

/** The ffmpeg of PATH, if any. */
const system = (process.env.PATH ?? '')
  .split(delimiter)
  .map((folder) => join(folder, 'ffmpeg'))
  .filter(isProgram)
  .slice(0, 1)

/** The development dependency. It is linked statically, so it starts in a tenth of the time of Debian's. */
const installed = await import('@ffmpeg-installer/ffmpeg').then(
  (module) => [module.default.path],
  () => [],
)

/** Every ffmpeg there is. */
export const ffmpegs: readonly string[] = [...system, ...installed]

/** The one that starts fastest, to make files and to read them. */
export const anyFfmpeg = (): string => {
  const ffmpeg = ffmpegs.at(-1)
  if (ffmpeg === undefined) throw new Error('there is no ffmpeg on this machine, not even the development dependency')
  return ffmpeg
}

/** PATH with that one first. */
export const FFMPEG_PATH = [...installed.map(dirname), process.env.PATH ?? ''].join(delimiter)

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
