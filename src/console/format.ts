/** A duration in words that fit a table: `850 ms`, `12.4 s`, `3 min 20 s`, `2 h 5 min`. */
export function formatDuration(ms: number): string {
  if (!Number.isFinite(ms) || ms < 0) return ''
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`
  const seconds = Math.round(ms / 1000)
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
  const minutes = Math.round(seconds / 60)
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`
  return `${Math.round(minutes / 1440)} days`
}

/** `1 job`, `3 jobs`. */
export const counted = (count: number, what: string) => `${count} ${what}${count === 1 ? '' : 's'}`

/** How long ago, for people: `now`, `12 s ago`, `5 min ago`, `3 h ago`, `2 days ago`. */
export function formatAge(ms: number): string {
  const seconds = Math.floor(ms / 1000)
  if (!(seconds >= 2)) return 'now'
  if (seconds < 60) return `${seconds} s ago`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h ago`
  return `${Math.floor(seconds / 86_400)} days ago`
}

/** When a job is expected to finish; empty if that is unknown, or has passed: then nobody knows how much longer it takes. */
export const formatFinish = (at: string | undefined, now: number): string =>
  at !== undefined && Date.parse(at) > now ? `done at about ${new Date(at).toLocaleTimeString()}` : ''

export function formatBytes(bytes: number): string {
  const units = ['B', 'KB', 'MB', 'GB']
  const power = bytes < 1 ? 0 : Math.min(Math.floor(Math.log10(bytes) / 3), units.length - 1)
  const value = bytes / 1000 ** power
  return `${value < 10 && power > 0 ? value.toFixed(1) : Math.round(value)} ${units[power] ?? ''}`
}

/** The facts of a file as the API has them, all of which may be unknown. */
export type Facts = {
  readonly container?: string
  readonly codec?: string
  readonly duration_seconds?: number
  readonly width?: number
  readonly height?: number
  readonly rotation?: number
  readonly frame_rate?: number
  readonly sample_rate?: number
  readonly channels?: number
}

/** The facts of a file in one line: `MP4, h264, 704×1216, 10.7 s, 25 frames/s`. */
export function formatFacts(facts: Facts): string {
  const { container, codec, width, height, rotation = 0, frame_rate: rate, sample_rate: samples, channels } = facts
  const seconds = facts.duration_seconds
  const known = [
    container,
    codec,
    width !== undefined && height !== undefined && `${width}×${height}`,
    rotation !== 0 && `turned by ${rotation}°`,
    seconds !== undefined && formatDuration(seconds * 1000),
    rate !== undefined && `${rate} frames/s`,
    samples !== undefined && `${samples / 1000} kHz`,
    channels !== undefined && (['no channels', 'mono', 'stereo'][channels] ?? `${channels} channels`),
  ]
  return known.filter((fact) => typeof fact === 'string').join(', ')
}

/** Names a job by its end: the time is at the start of an id, so that ids of one day begin alike. */
export const shortId = (id: string) => id.slice(-8)

export const isJobId = (text: string) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text)

/** Labels from lines of `key=value`; `error` names the first line that has none. */
export function labelsIn(text: string): { labels: Record<string, string>; error: string } {
  const lines = text.split('\n').map((line) => line.trim())
  const wrong = lines.findIndex((line) => line !== '' && !/^[^=]+=/.test(line))
  const labels = lines
    .filter((line) => line.indexOf('=') > 0)
    .map((line) => [line.slice(0, line.indexOf('=')).trim(), line.slice(line.indexOf('=') + 1).trim()])
  return {
    labels: Object.fromEntries(labels) as Record<string, string>,
    error: wrong < 0 ? '' : `Line ${wrong + 1} needs key=value.`,
  }
}

/** An argument for a POSIX shell. */
export const quoteShell = (text: string) =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`

export type CurlRequest = {
  readonly url: string
  /** Texts, files by the names that curl reads, and objects. */
  readonly fields: Readonly<Record<string, unknown>>
  /** Names of the fields that are files. */
  readonly files: Readonly<Record<string, string>>
  readonly needsKey: boolean
}

/** The command that sends the same request. */
export function curlOf({ url, fields, files, needsKey }: CurlRequest): string {
  const parts = [`curl ${quoteShell(url)}`]
  if (needsKey) parts.push('-H "authorization: Bearer $MUSETALK_API_KEY"')
  if (Object.keys(files).length === 0) {
    parts.push(`-H 'content-type: application/json'`, `-d ${quoteShell(JSON.stringify(fields))}`)
  } else {
    for (const [name, file] of Object.entries(files)) parts.push(`-F ${quoteShell(`${name}=@${file}`)}`)
    for (const [name, value] of Object.entries(fields)) {
      parts.push(`--form-string ${quoteShell(`${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)}`)
    }
  }
  return parts.join(' \\\n  ')
}

/** ANSI sequences, such as those that colour a text. */
// eslint-disable-next-line no-control-regex -- They begin with a control character.
const COLOURS = /\u001b\[[0-9;?]*[A-Za-z]/g

/** A log as a terminal shows it: a carriage return begins the line again. */
export function asOnTerminal(text: string): string {
  return text
    .replaceAll(/\r+\n/g, '\n')
    .split('\n')
    .map((line) => line.replace(/\r+$/, '').split('\r').at(-1) ?? '')
    .join('\n')
    .replaceAll(COLOURS, '')
}
