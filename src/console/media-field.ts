import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useEffect, useId, useRef, useState } from 'preact/hooks'
import { formatBytes } from './format.ts'
import { notify, useNow } from './ui.ts'

/** A face or a speech as a person gave it. */
export type Media = {
  readonly file?: File
  /** A URL, or a path on the server. */
  readonly text: string
  /** Of a face: whether it is a still. */
  readonly isImage: boolean
}

export const NO_MEDIA: Media = { text: '', isImage: false }

const isUrl = (text: string) => /^https?:\/\//i.test(text)
const looksLikeImage = (name: string) => /\.(jpe?g|png|webp|bmp|tiff?|gif)$/i.test(name.split(/[?#]/)[0] ?? '')

/** The field of a submit that carries it; undefined: nothing is given. */
export function fieldOf(kind: 'face' | 'audio', { file, text, isImage }: Media): [string, string | File] | undefined {
  const name = kind === 'audio' ? 'audio' : isImage ? 'image' : 'video'
  if (file) return [name, file]
  if (text.trim() === '') return undefined
  if (isUrl(text.trim())) return [`${name}_url`, text.trim()]
  return [kind === 'audio' ? 'audio_path' : 'video_path', text.trim()]
}

export type MediaFieldProps = {
  readonly kind: 'face' | 'audio'
  readonly media: Media
  readonly onChange: (media: Media) => void
  /** What the server says of it, or what is wrong. */
  readonly facts: string
  readonly error: string
}

const WORDS = {
  face: { title: 'Face', drop: 'Drop a video or an image', accept: 'video/*,image/*,.mkv,.avi,.flv,.wmv' },
  audio: { title: 'Speech', drop: 'Drop speech', accept: 'audio/*,video/*,.amr,.mkv' },
} as const

/** A place to drop a file, to choose one, to name one, or to record one. */
export function MediaField({ kind, media, onChange, facts, error }: MediaFieldProps): VNode {
  const { title, drop, accept } = WORDS[kind]
  const [isOver, setOver] = useState(false)
  const input = useRef<HTMLInputElement>(null)
  const id = useId()

  const choose = (file: File | null | undefined) => {
    if (!file) return
    const isImage =
      kind === 'face' && (file.type.startsWith('image/') || (file.type === '' && looksLikeImage(file.name)))
    onChange({ file, text: '', isImage })
  }
  const clear = () => {
    if (input.current) input.current.value = ''
    onChange(NO_MEDIA)
  }
  const onText = (event: InputEvent) => {
    const text = (event.target as HTMLInputElement).value
    onChange({ text, isImage: kind === 'face' && looksLikeImage(text) })
  }
  const onDragOver = (event: DragEvent) => {
    event.preventDefault()
    setOver(true)
  }
  const onDrop = (event: DragEvent) => {
    event.preventDefault()
    setOver(false)
    choose(event.dataTransfer?.files[0])
  }

  return html`<section class="card media" aria-label=${title}>
    <h2>${title}</h2>
    <div
      class="drop ${isOver ? 'over' : ''}"
      onDragOver=${onDragOver}
      onDragLeave=${() => setOver(false)}
      onDrop=${onDrop}
    >
      ${
        media.file
          ? html`<${Preview} file=${media.file} isImage=${media.isImage} kind=${kind} />
              <p class="file">
                <bdi>${media.file.name}</bdi> <span class="dim">${formatBytes(media.file.size)}</span>
              </p>`
          : html`<p class="dim">${drop} here, or</p>`
      }
      <div class="actions">
        <button type="button" onClick=${() => input.current?.click()}>
          ${media.file ? 'Another file' : 'Choose a file'}
        </button>
        ${kind === 'audio' && html`<${Recorder} onRecorded=${choose} />`}
        ${(media.file !== undefined || media.text !== '') && html`<button type="button" onClick=${clear}>Remove</button>`}
      </div>
      <input
        ref=${input}
        class="hidden"
        type="file"
        accept=${accept}
        tabindex="-1"
        aria-label=${`${title}: file`}
        onChange=${(event: Event) => choose((event.target as HTMLInputElement).files?.[0])}
      />
    </div>
    ${
      !media.file &&
      html`<label for=${id}>URL or path on the server</label>
        <div class="row">
          <input
            id=${id}
            type="text"
            spellcheck=${false}
            value=${media.text}
            onInput=${onText}
            placeholder="https://…"
          />
          ${
            kind === 'face' &&
            isUrl(media.text) &&
            html`<select
              aria-label="What the URL leads to"
              value=${media.isImage ? 'image' : 'video'}
              onChange=${(event: Event) => onChange({ ...media, isImage: (event.target as HTMLSelectElement).value === 'image' })}
            >
              <option value="video">a video</option>
              <option value="image">an image</option>
            </select>`
          }
        </div>`
    }
    ${facts !== '' && html`<p class="facts">${facts}</p>`}
    ${error !== '' && html`<p class="failure" role="alert">${error}</p>`}
  </section>`
}

/** Shows a file of this machine, from memory. */
function Preview({ file, isImage, kind }: { file: File; isImage: boolean; kind: 'face' | 'audio' }): VNode {
  const [url, setUrl] = useState('')
  const [isUnknown, setUnknown] = useState(false)
  useEffect(() => {
    const made = URL.createObjectURL(file)
    setUrl(made)
    setUnknown(false)
    return () => URL.revokeObjectURL(made)
  }, [file])
  if (isUnknown) return html`<p class="dim">This browser cannot show it. The server may be able to read it.</p>`
  const onError = () => setUnknown(url !== '')
  if (url === '') return html`<p class="dim">…</p>`
  if (isImage) return html`<img src=${url} alt="The chosen face" onError=${onError} />`
  if (kind === 'face') return html`<video src=${url} controls muted playsinline onError=${onError}></video>`
  return html`<${Waveform} file=${file} /><audio src=${url} controls onError=${onError}></audio>`
}

/** A larger file is not decoded for its waveform, in bytes: that takes some ten times its size of memory. */
const MAX_WAVEFORM_BYTES = 20_000_000

function Waveform({ file }: { file: File }): VNode {
  const canvas = useRef<HTMLCanvasElement>(null)
  useEffect(() => {
    let isCurrent = true
    const draw = async () => {
      const context = new OfflineAudioContext(1, 1, 8_000)
      const sound = (await context.decodeAudioData(await file.arrayBuffer())).getChannelData(0)
      if (isCurrent && canvas.current) drawWave(canvas.current, sound)
    }
    // The player says so if it cannot be decoded.
    if (file.size <= MAX_WAVEFORM_BYTES) draw().catch(() => undefined)
    return () => void (isCurrent = false)
  }, [file])
  return html`<canvas ref=${canvas} class="wave" width="600" height="80" aria-hidden="true"></canvas>`
}

function drawWave(canvas: HTMLCanvasElement, sound: Float32Array): void {
  const context = canvas.getContext('2d')
  if (!context) return
  const { width, height } = canvas
  context.clearRect(0, 0, width, height)
  context.fillStyle = getComputedStyle(canvas).color
  for (let x = 0; x < width; x += 3) {
    const part = sound.subarray(Math.floor((x / width) * sound.length), Math.floor(((x + 3) / width) * sound.length))
    const peak = part.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
    const size = Math.max(2, peak * height)
    context.fillRect(x, (height - size) / 2, 2, size)
  }
}

/** Records speech; absent where the browser does not permit it, as on pages of plain http. */
function Recorder({ onRecorded }: { onRecorded: (file: File) => void }): VNode | null {
  const [recorder, setRecorder] = useState<MediaRecorder>()
  useEffect(() => () => recorder?.stream.getTracks().forEach((track) => track.stop()), [recorder])
  // Undefined on pages of plain http, whatever the type says.
  if (!(navigator.mediaDevices as MediaDevices | undefined) || typeof MediaRecorder === 'undefined') return null

  const start = async () => {
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true })
      const recording = new MediaRecorder(stream)
      const pieces: Blob[] = []
      recording.ondataavailable = ({ data }) => pieces.push(data)
      recording.onstop = () => {
        const type = recording.mimeType.split(';')[0] ?? ''
        onRecorded(new File(pieces, `recording.${type.split('/')[1] ?? 'webm'}`, { type }))
        setRecorder(undefined)
      }
      recording.start()
      setRecorder(recording)
    } catch {
      notify('The browser does not permit the use of the microphone.')
    }
  }
  return recorder
    ? html`<button type="button" class="danger" onClick=${() => recorder.stop()}>Stop recording</button><${Elapsed} />`
    : html`<button type="button" onClick=${start}>Record</button>`
}

/** Seconds since it is shown. */
function Elapsed(): VNode {
  const [startedAt] = useState(Date.now)
  const now = useNow(500)
  return html`<span class="dim" role="timer">${Math.max(0, Math.floor((now - startedAt) / 1000))} s</span>`
}
