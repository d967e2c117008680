import { type Dispatcher, Pool } from 'undici'
import type { JobView } from '../../src/jobs/view.ts'
import { exactNow } from '../../test/helpers/control-plane/calls.ts'

/** A caller of the server's API over connections that are kept open. */
export type Client = {
  /** Submits a job whose call behaves as `behaviour` says (`after=10`, `end=never`). `sentAt` as of `exactNow`. */
  submit(behaviour: string): Promise<Submitted>
  job(id: string): Promise<JobView>
  close(): Promise<void>
}

export type Submitted = { readonly id: string; readonly sentAt: number }

const CONNECTIONS = 64

/** Opens a client of a server. `more`: further fields of every submit. */
export function connect(url: string, more: object = {}): Client {
  const pool = new Pool(url, { connections: CONNECTIONS })
  const headers = { 'content-type': 'application/json' }
  const ask = async (request: Dispatcher.RequestOptions, expected: number): Promise<JobView> => {
    const { statusCode, body } = await pool.request(request)
    const answer = await body.text()
    if (statusCode !== expected) throw new Error(`${request.method} ${request.path}: ${statusCode} ${answer}`)
    return JSON.parse(answer) as JobView
  }
  return {
    async submit(behaviour) {
      const body = JSON.stringify({ ...inputOf(behaviour), ...more })
      const sentAt = exactNow()
      const { job_id: id } = await ask({ method: 'POST', path: '/jobs', headers, body }, 202)
      return { id, sentAt }
    },
    job: (id) => ask({ method: 'GET', path: `/jobs/${id}` }, 200),
    close: () => pool.destroy(),
  }
}

/** The input of a job whose call the stand-in steers by it. */
export const inputOf = (behaviour: string) => ({
  video_url: `https://media.example/behave/${behaviour}.mp4`,
  audio_path: 'data/audio/yongen.wav',
})

/** Whether a job has succeeded. One that ended otherwise spoils the measurement, and throws. */
export function hasSucceeded(job: JobView): boolean {
  if (job.status === 'failed' || job.status === 'canceled') throw new Error(`a job ended ${job.status}: ${job.error}`)
  return job.status === 'succeeded'
}
