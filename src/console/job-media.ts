import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { credential, type Job, messageOf, send, urlOf } from './api.ts'
import { formatBytes } from './format.ts'

/**
 * Where the video is, by the signature of its link, so that a player needs no header. At this page's address, which may
 * differ from the one that the server has for itself.
 */
export function outputUrl(job: Job): string | undefined {
  const signed = job.output_url === undefined ? null : URL.parse(job.output_url)
  return signed ? urlOf(job.links.output) + signed.search : undefined
}

/** Face, speech and result side by side; the face follows the result. */
export function JobMedia({ job }: { job: Job }): VNode {
  const result = useRef<HTMLVideoElement>(null)
  const [isUnplayable, setUnplayable] = useState(false)
  const url = outputUrl(job)
  const { video_url, image_url, video_path, audio_url, audio_path, video, image, audio } = job.input
  return html`<section class="trio" aria-label="Face, speech and result">
    <figure class="card">
      <figcaption>Face</figcaption>
      <${Given}
        job=${job}
        kind=${image ? 'image' : 'video'}
        file=${video ?? image}
        name=${video_url ?? image_url ?? video_path}
        leader=${result}
      />
    </figure>
    <figure class="card">
      <figcaption>Speech</figcaption>
      <${Given} job=${job} kind="audio" file=${audio} name=${audio_url ?? audio_path} />
    </figure>
    <figure class="card">
      <figcaption>Result</figcaption>
      ${
        url === undefined
          ? html`<p class="none dim">${job.status === 'failed' || job.status === 'canceled' ? 'none' : 'not yet'}</p>`
          : html`<video ref=${result} src=${url} controls playsinline onError=${() => setUnplayable(true)}></video>`
      }
      ${isUnplayable && html`<p class="failure" role="alert">The video cannot be played here. Try to download it.</p>`}
    </figure>
  </section>`
}

type GivenProps = {
  readonly job: Job
  readonly kind: 'video' | 'image' | 'audio'
  readonly file: { readonly size: number } | undefined
  /** Its URL or path, if it is no file. */
  readonly name: string | undefined
  /** The player that this one follows. */
  readonly leader?: { readonly current: HTMLVideoElement | null }
}

/** A face or speech as it was given: a file is shown, a URL of another site is only named. */
function Given({ job, kind, file, name, leader }: GivenProps): VNode {
  const isLink = name !== undefined && /^https?:\/\//i.test(name)
  if (!file) {
    return html`<p class="none">
      ${isLink ? html`<a href=${name} target="_blank" rel="noreferrer"><bdi>${name}</bdi></a>` : html`<bdi>${name}</bdi>`}
    </p>`
  }
  return html`<${GivenFile} job=${job} kind=${kind} size=${file.size} leader=${leader} />`
}

/** With a key, files up to this many bytes are loaded at once: only a request of the page can carry the key. */
const MAX_AT_ONCE_BYTES = 64_000_000

type GivenFileProps = Pick<GivenProps, 'job' | 'kind' | 'leader'> & { readonly size: number }

function GivenFile({ job, kind, size, leader }: GivenFileProps): VNode {
  const path = `jobs/${job.job_id}/inputs/${kind}`
  const [url, setUrl] = useState(credential.get() === '' ? urlOf(path) : '')
  const [error, setError] = useState('')
  const player = useRef<HTMLVideoElement>(null)
  useFollowing(player, leader)
  useEffect(() => {
    if (credential.get() === '' || size > MAX_AT_ONCE_BYTES) return undefined
    const ending = new AbortController()
    let made = ''
    const load = async () => {
      const call = { method: 'GET', path: `/${path}`, repeatable: true, signal: ending.signal } as const
      made = URL.createObjectURL(await send(call, (answer) => answer.blob()))
      setUrl(made)
    }
    load().catch((reason: unknown) => setError(messageOf(reason)))
    return () => {
      ending.abort()
      URL.revokeObjectURL(made)
    }
  }, [path])
  const onError = () => setError('This browser cannot show it.')
  if (error !== '' || url === '') return html`<p class="none dim">${error || formatBytes(size)}</p>`
  if (kind === 'image') return html`<img src=${url} alt="The face" onError=${onError} />`
  if (kind === 'audio') return html`<audio src=${url} controls onError=${onError}></audio>`
  return html`<video ref=${player} src=${url} controls muted loop playsinline onError=${onError}></video>`
}

/** Plays, pauses and seeks together with another player; a shorter video starts again, as in the result. */
function useFollowing(player: { readonly current: HTMLVideoElement | null }, leader: GivenProps['leader']): void {
  useEffect(() => {
    const [follower, leading] = [player.current, leader?.current]
    if (!follower || !leading) return undefined
    const align = () => {
      if (follower.duration > 0) follower.currentTime = leading.currentTime % follower.duration
      follower.playbackRate = leading.playbackRate
    }
    const play = () => {
      align()
      // A browser may not permit it; then only the result plays.
      follower.play().catch(() => undefined)
    }
    const pause = () => follower.pause()
    const listeners = { play, pause, seeked: align, ratechange: align, ended: pause }
    for (const [name, listener] of Object.entries(listeners)) leading.addEventListener(name, listener)
    return () => {
      for (const [name, listener] of Object.entries(listeners)) leading.removeEventListener(name, listener)
    }
  })
}
