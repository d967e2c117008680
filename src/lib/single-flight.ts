/** Runs work at most once at a time: calls that come while it runs share its outcome. */
export function shareInFlight<T>(work: () => Promise<T>): () => Promise<T> {
  let underWay: Promise<T> | undefined
  return () => (underWay ??= work().finally(() => (underWay = undefined)))
}

/** Work that is done once, when it is first needed. */
export type Once<T> = {
  /** Does the work, or gives back its result. Rejects as the work does; the next call tries again. */
  get(): Promise<T>
  /** The work that is under way or done; undefined before the first call, and after a failure. */
  readonly current: Promise<T> | undefined
}

export function createOnce<T>(work: () => Promise<T>): Once<T> {
  let current: Promise<T> | undefined
  return {
    get current() {
      return current
    },
    get() {
      current ??= work().catch((error: unknown) => {
        current = undefined
        throw error
      })
      return current
    },
  }
}

/** Runs work of the same key one after the other, in order; work of different keys runs concurrently. */
export type Serial = <T>(key: string, work: () => Promise<T>) => Promise<T>

export function createSerial(): Serial {
  const last = new Map<string, Promise<unknown>>()
  return async (key, work) => {
    // Work that failed does not block the next.
    const run = (last.get(key) ?? Promise.resolve()).then(work, work)
    last.set(key, run)
    try {
      return await run
    } finally {
      if (last.get(key) === run) last.delete(key)
    }
  }
}

/**
 * Does what is asked in one turn of the event loop at once. `work` gets up to `maxSize` requests and resolves with an
 * answer to each, in order; an `Error` rejects that request, and if `work` rejects, all are rejected.
 */
export function createBatch<Request, Answer>(
  work: (requests: readonly Request[]) => Promise<readonly (Answer | Error)[]>,
  maxSize: number,
): (request: Request) => Promise<Answer> {
  type Pending = { readonly request: Request } & Pick<PromiseWithResolvers<Answer>, 'resolve' | 'reject'>
  let open: Pending[] = []

  const flush = async (batch: readonly Pending[]) => {
    try {
      const answers = await work(batch.map(({ request }) => request))
      for (const [n, { resolve, reject }] of batch.entries()) {
        const answer = answers[n]
        if (answer instanceof Error) reject(answer)
        else resolve(answer as Answer)
      }
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }

  return (request) =>
    new Promise((resolve, reject) => {
      if (open.length === maxSize) open = []
      const batch = open
      batch.push({ request, resolve, reject })
      if (batch.length > 1) return
      setImmediate(() => {
        if (open === batch) open = []
        void flush(batch)
      })
    })
}
