import { useEffect, useRef, useState } from 'preact/hooks'
import { readEvents } from '../client/streams.ts'
import { type Job, messageOf, ProblemError, send } from './api.ts'

/** `live`: changes arrive as they happen; `polling`: the stream is away, and the page asks every few seconds. */
export type LiveState = 'connecting' | 'live' | 'polling'

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
  /** Loads what is shown again: after a break, and while there is no stream. */
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

async function follow(path: string, { callbacks, setState, signal }: Following): Promise<void> {
  for (let failures = 0; !signal.aborted; failures++) {
    try {
      const call = { method: 'GET', path, repeatable: true, timeoutMs: ANSWER_MS, signal } as const
      const { body } = await send(call, (answer) => answer)
      // 204: the job has finished.
      if (!body) return
      setState('live')
      if (failures > 0) callbacks.current.onGap()
      failures = 0
      const hints = {
        onStage: (stage: NonNullable<Job['stage']>, id: string) => callbacks.current.onHint?.(id, { stage }),
        onProgress: (progress: NonNullable<Job['progress']>, id: string) =>
          callbacks.current.onHint?.(id, { progress }),
      }
      for await (const { state } of readEvents<Job>(body, hints)) callbacks.current.onJob(state)
      if (path !== ALL_JOBS) return
    } catch (error) {
      messageOf(error)
      if (error instanceof ProblemError && [401, 403, 404].includes(error.status)) return
    }
    setState('polling')
    callbacks.current.onGap()
    await new Promise((resolve) => {
      setTimeout(resolve, Math.min(FIRST_PAUSE_MS * 1.5 ** failures, MAX_PAUSE_MS))
      signal.addEventListener('abort', resolve, { once: true })
    })
  }
}
