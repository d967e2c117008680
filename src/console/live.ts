import { useEffect, useRef, useState } from 'preact/hooks'
import { readEvents } from '../client/streams.ts'
import { pause } from '../client/transport.ts'
import { isFinished, type Job, messageOf, ProblemError, send } from './api.ts'

/**
 * `live`: changes arrive as they happen; `polling`: there is no stream, and the page asks every few seconds;
 * `refused`: the caller may not follow.
 */
export type LiveState = 'connecting' | 'live' | 'polling' | 'refused'

/** Pauses between attempts to open the stream again, in ms; the page polls at each. */
const FIRST_PAUSE_MS = 1_000
const MAX_PAUSE_MS = 10_000

/** How long the stream may take to open, in ms. */
const ANSWER_MS = 15_000

/** The stream of all jobs of the caller, which has no end. */
export const ALL_JOBS = '/events'

export type LiveOptions = {
  /** `/events`, or the events of a job; undefined: nothing to follow. */
  readonly path: string | undefined
  readonly onJob: (job: Job) => void
  /** Where a running job is, and how far. */
  readonly onHint?: (id: string, hint: Pick<Job, 'stage' | 'progress'>) => void
  /** Loads the data again: after a break, and while there is no stream. */
  readonly onGap: () => void
}

/**
 * Follows jobs while the page is visible: a browser opens few connections to one server, and a hidden page would keep one.
 */
export function useLive({ path, ...subscriber }: LiveOptions): LiveState {
  const [state, setState] = useState<LiveState>('connecting')
  // The stream outlives the functions of one rendering.
  const callbacks = useRef(subscriber)
  callbacks.current = subscriber

  useEffect(() => {
    if (path === undefined) return undefined
    let following = new AbortController()
    const start = () => {
      following.abort()
      following = new AbortController()
      if (!document.hidden) void follow(path, { callbacks, setState, signal: following.signal })
    }
    const onVisibility = () => {
      if (!document.hidden) callbacks.current.onGap()
      start()
    }
    start()
    document.addEventListener('visibilitychange', onVisibility)
    return () => {
      following.abort()
      document.removeEventListener('visibilitychange', onVisibility)
    }
  }, [path])
  return state
}

type Following = {
  readonly callbacks: { readonly current: Omit<LiveOptions, 'path'> }
  readonly setState: (state: LiveState) => void
  readonly signal: AbortSignal
}

/** Ends when the signal aborts, when the job has finished, or when the caller may not see it. */
async function follow(path: string, { callbacks, setState, signal }: Following): Promise<void> {
  for (let failures = 0; ; failures++) {
    try {
      const call = { method: 'GET', path, repeatable: true, timeoutMs: ANSWER_MS, signal } as const
      const { body } = await send(call, (answer) => answer)
      // 204: the job has finished.
      if (!body) return
      setState('live')
      if (failures > 0) callbacks.current.onGap()
      failures = 0
      const hasFinished = await readJobs(body, callbacks)
      if (path !== ALL_JOBS && hasFinished) return
    } catch (error) {
      if (signal.aborted) return
      messageOf(error)
      if (error instanceof ProblemError && [401, 403, 404].includes(error.status)) {
        setState('refused')
        return
      }
    }
    setState('polling')
    callbacks.current.onGap()
    try {
      await pause(Math.min(FIRST_PAUSE_MS * 1.5 ** failures, MAX_PAUSE_MS), signal)
    } catch {
      return
    }
  }
}

/** Reads a stream to its end. Resolves with whether its job has finished: a server that shuts down ends it earlier. */
async function readJobs(body: ReadableStream<Uint8Array>, callbacks: Following['callbacks']): Promise<boolean> {
  const onHint = (id: string, hint: Pick<Job, 'stage' | 'progress'>) => callbacks.current.onHint?.(id, hint)
  const events = readEvents<Job>(body, {
    onStage: (stage, id) => onHint(id, { stage }),
    onProgress: (progress, id) => onHint(id, { progress }),
  })
  let last: Job | undefined
  for await (const { state } of events) {
    last = state
    callbacks.current.onJob(state)
  }
  return last !== undefined && isFinished(last)
}
