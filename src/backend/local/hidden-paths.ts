/** A path of this machine, and what its caller reads in its place. */
export type HiddenPath = readonly [path: string, name: string]

/** A line longer than this, in characters, is passed on before its end has come. */
const LINE_MAX_LENGTH = 8192

/** Puts the names in place of the paths. */
export const hidePaths = (text: string, paths: readonly HiddenPath[]): string =>
  paths.reduce((hidden, [path, name]) => hidden.replaceAll(`file:${path}`, name).replaceAll(path, name), text)

/** Hides paths in what comes in pieces, which may end anywhere, also within a path or a character. */
export type PathFilter = {
  write(piece: Buffer): void
  /** Passes on what is left: a last line without an end. */
  end(): void
}

/** Passes text on to `sink` line by line; a carriage return ends a line too, as progress bars use it. */
export function createPathFilter(paths: readonly HiddenPath[], sink: (text: string) => void): PathFilter {
  const decoder = new TextDecoder()
  // What is passed on before a line ends leaves back so much that a path whose end has not come is in it as a whole.
  const heldBack = Math.max(0, ...paths.map(([path]) => `file:${path}`.length))
  let rest = ''
  const pass = (text: string) => {
    if (text !== '') sink(text)
  }
  return {
    write(piece) {
      rest += decoder.decode(piece, { stream: true })
      const lineEnd = Math.max(rest.lastIndexOf('\n'), rest.lastIndexOf('\r')) + 1
      pass(hidePaths(rest.slice(0, lineEnd), paths))
      rest = rest.slice(lineEnd)
      if (rest.length < LINE_MAX_LENGTH) return
      rest = hidePaths(rest, paths)
      pass(rest.slice(0, -heldBack || undefined))
      rest = heldBack > 0 ? rest.slice(-heldBack) : ''
    },
    end() {
      pass(hidePaths(rest + decoder.decode(), paths))
      rest = ''
    },
  }
}
