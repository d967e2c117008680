import { resolvesWithin } from './timing.ts'

export type Closable = { close(): Promise<void> }

export type ClosersOptions = {
  /** How long one part may take to close, in ms; after that the next one is closed. */
  readonly timeoutMs: number
  /** Called for a part that did not close: with the error, or with undefined if it took too long. */
  readonly onFailure: (part: string, error: unknown) => void
}

/** Closes parts last-in-first-out. A part that hangs or rejects does not keep the others from closing. */
export function createClosers({ timeoutMs, onFailure }: ClosersOptions) {
  const parts: { readonly name: string; readonly part: Closable }[] = []

  const closeInTime = async (name: string, part: Closable) => {
    if (!(await resolvesWithin(part.close(), timeoutMs))) onFailure(name, undefined)
  }

  return {
    /** Gives back the part, which is closed before all that were added earlier. */
    add<T extends Closable>(name: string, part: T): T {
      parts.unshift({ name, part })
      return part
    },
    /** Never rejects. */
    async closeAll() {
      for (const { name, part } of parts) {
        await closeInTime(name, part).catch((error: unknown) => onFailure(name, error))
      }
    },
  }
}
