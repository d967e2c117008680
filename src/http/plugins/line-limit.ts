/** Whom a log line is about: a caller, or the address of a client that is not known. */
export type Subject = { readonly caller: string } | { readonly remote_address: string }

export type LineLimits = {
  /** Lines in a window about one subject, and about all. */
  readonly perSubject: number
  readonly inAll: number
  /** Subjects told apart in a window; those beyond count as one. */
  readonly maxSubjects: number
  readonly windowMs: number
}

/** What a subject was left without in a window: how many lines, and of what. */
export type Suppressed = { readonly count: number; readonly byKind: Readonly<Record<string, number>> }

/**
 * Bounds the log lines that clients can cause as often as they like. What is left out is counted, and summarized once
 * a window for each subject that has had too many.
 */
export type LineLimit = {
  /** Whether a line is to be written; if not, it is counted under `kind`, of which there are few. */
  admits(subject: Subject, kind: string | number): boolean
  /** Ends the window, so that what has been counted is not lost. */
  flush(): void
}

/** The key of all subjects beyond those that are told apart. */
const OTHERS = ''

type Counted = { readonly subject: Subject | undefined; written: number; count: number; byKind: Record<string, number> }

/** `summarize`: writes the line that stands for those left out; without a subject it is about all beyond `maxSubjects`. */
export function createLineLimit(
  { perSubject, inAll, maxSubjects, windowMs }: LineLimits,
  summarize: (subject: Subject | undefined, suppressed: Suppressed) => void,
): LineLimit {
  let subjects = new Map<string, Counted>()
  let written = 0
  let timer: NodeJS.Timeout | undefined

  const flush = () => {
    clearTimeout(timer)
    timer = undefined
    const counted = subjects
    subjects = new Map()
    written = 0
    for (const { subject, count, byKind } of counted.values()) if (count > 0) summarize(subject, { count, byKind })
  }

  const find = (subject: Subject): Counted => {
    const key = JSON.stringify(subject)
    const isOther = subjects.size >= maxSubjects && !subjects.has(key)
    const known = subjects.get(isOther ? OTHERS : key)
    if (known) return known
    const counted = { subject: isOther ? undefined : subject, written: 0, count: 0, byKind: {} }
    subjects.set(isOther ? OTHERS : key, counted)
    return counted
  }

  return {
    flush,
    admits(subject, kind) {
      // It begins with the first line and not at a fixed time: nothing has to run while nobody is refused.
      timer ??= setTimeout(flush, windowMs).unref()
      const counted = find(subject)
      if (counted.written < perSubject && written < inAll) {
        counted.written++
        written++
        return true
      }
      counted.count++
      counted.byKind[kind] = (counted.byKind[kind] ?? 0) + 1
      return false
    },
  }
}
