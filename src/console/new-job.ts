import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { checkJob, credential, messageOf, ProblemError, randomKey, type Schemas, submitJob, urlOf } from './api.ts'
import { curlOf, formatBytes, formatDuration, formatFacts, labelsIn } from './format.ts'
import { fieldOf, type Media, MediaField, NO_MEDIA } from './media-field.ts'
import { PARAMETER_NAMES, ParameterFields, type ParameterTexts, parameterValues } from './parameters.ts'
import { type Children, Command, Failure } from './ui.ts'
import { createFileSender, type Files, type FileSender } from './uploads.ts'

type Check = Schemas['JobCheck']

type Form = {
  readonly face: Media
  readonly audio: Media
  readonly version: 'v15' | 'v1'
  readonly parameters: ParameterTexts
  readonly labels: string
  readonly webhook: string
  readonly timeout: string
  readonly priority: string
  readonly reuse: boolean
}

const EMPTY: Form = {
  face: NO_MEDIA,
  audio: NO_MEDIA,
  version: 'v15',
  parameters: {},
  labels: '',
  webhook: '',
  timeout: '',
  priority: '',
  reuse: false,
}

/** Larger files, in bytes, are sent only when the form is submitted, so they are not checked before. */
const MAX_CHECKED_BYTES = 64_000_000
/** The form is checked this long after its last change, in ms. */
const REST_MS = 400

/** The fields of the submit, without face and speech. */
function optionsOf({ version, parameters, labels, webhook, timeout, priority, reuse }: Form): Record<string, unknown> {
  const values = parameterValues(parameters, version)
  const metadata = labelsIn(labels).labels
  return {
    ...(version !== 'v15' && { version }),
    ...(Object.keys(values).length > 0 && { parameters: values }),
    ...(Object.keys(metadata).length > 0 && { metadata }),
    ...(webhook.trim() !== '' && { webhook_url: webhook.trim() }),
    ...(reuse && { reuse }),
    ...(priority !== '' && { priority }),
    ...(timeout !== '' && { timeout_seconds: Number(timeout) }),
  }
}

const mediaOf = ({ face, audio }: Form) => [fieldOf('face', face), fieldOf('audio', audio)].filter((one) => !!one)

const filesOf = (form: Form): Files => Object.fromEntries(mediaOf(form).filter(([, value]) => value instanceof File))

/** Whether it can be sent: it has a face and a speech, and no label is cut short. */
const isComplete = (form: Form) => mediaOf(form).length === 2 && labelsIn(form.labels).error === ''

/** The form as the API takes it, once its files are sent. */
async function sendForm<T>(form: Form, sender: FileSender, post: (fields: object) => Promise<T>): Promise<T> {
  const uploads = await sender.send(filesOf(form))
  try {
    return await post({ ...Object.fromEntries(mediaOf(form)), ...uploads, ...optionsOf(form) })
  } catch (error) {
    // An upload may have expired: its file is sent again the next time.
    if (error instanceof ProblemError && error.code === 'upload_rejected') {
      sender.forget(error.errors.map(({ path }) => path.slice(1)))
    }
    throw error
  }
}

/** The media that the local backend and MuseTalk's own checkout bring along. */
const SAMPLES = {
  local: { face: 'face.mp4', audio: 'speech.wav' },
  modal: { face: 'data/video/yongen.mp4', audio: 'data/audio/yongen.wav' },
}

export function NewJobPage(): VNode {
  const [form, setForm] = useState(EMPTY)
  const [refusal, setRefusal] = useState<unknown>()
  // A submit that is repeated, for instance after a lost answer, makes one job as long as the form stays the same.
  const key = useRef(randomKey())
  const change = (part: Partial<Form>) => {
    key.current = randomKey()
    setRefusal(undefined)
    setForm((last) => ({ ...last, ...part }))
  }
  const [share, setShare] = useState(0)
  const [isSending, setSending] = useState(false)
  const [sender] = useState(() => createFileSender(setShare))
  const { check, error, isChecking } = useCheck(form, sender)
  const posting = useRef(new AbortController())
  const stop = () => {
    posting.current.abort()
    sender.stop()
  }
  useEffect(() => stop, [])
  const wrong = refusal ?? error
  const errorOf = (...names: string[]) => fieldErrorOf(wrong, names)

  const start = async (event: Event) => {
    event.preventDefault()
    if (!isComplete(form) || isSending) return
    setRefusal(undefined)
    setSending(true)
    posting.current = new AbortController()
    // Of the form as it is now: it can be changed while its files are sent.
    const submission = { key: key.current, signal: posting.current.signal }
    try {
      const { job_id: id } = await sendForm(form, sender, (fields) => submitJob(fields, submission))
      location.hash = `#/job/${id}`
    } catch (reason) {
      setRefusal(reason)
    }
    setSending(false)
  }
  const useSample = async () => {
    const { face, audio } = SAMPLES.local
    const names = { video_path: face, audio_path: audio }
    const local = await checkJob(names, AbortSignal.timeout(10_000)).catch(() => undefined)
    const sample = SAMPLES[local?.backend ?? 'local']
    change({ face: { text: sample.face, isImage: false }, audio: { text: sample.audio, isImage: false } })
  }
  const onText = (name: 'labels' | 'webhook' | 'timeout' | 'priority') => (event: Event) =>
    change({ [name]: (event.target as HTMLInputElement).value })

  const optionError = namedErrorsOf(wrong, (path) => isOf(path, OPTIONS))
  const labelError = labelsIn(form.labels).error
  const general = wrong === undefined ? '' : generalErrorOf(wrong)
  return html`<form class="new" onSubmit=${start}>
    <div class="title">
      <h1>New job</h1>
      <button type="button" class="small" onClick=${useSample}>Use the sample</button>
    </div>
    <div class="pair">
      <${MediaField}
        kind="face"
        media=${form.face}
        onChange=${(face: Media) => change({ face })}
        facts=${formatFacts(check?.media?.face ?? {})}
        error=${errorOf(...FACES)}
      />
      <${MediaField}
        kind="audio"
        media=${form.audio}
        onChange=${(audio: Media) => change({ audio })}
        facts=${formatFacts(check?.media?.audio ?? {})}
        error=${errorOf(...SPEECHES)}
      />
    </div>
    <${Options} hasError=${optionError !== '' || labelError !== '' || PARAMETERS.some((name) => errorOf(name) !== '')}>
      <summary>Model and options</summary>
      <fieldset class="choice">
        <legend>Model</legend>
        ${(['v15', 'v1'] as const).map(
          (version) =>
            html`<label
              ><input
                type="radio"
                name="version"
                checked=${form.version === version}
                onChange=${() => change({ version })}
              />
              ${version === 'v15' ? 'MuseTalk 1.5 (v15)' : 'MuseTalk 1.0 (v1)'}</label
            >`,
        )}
      </fieldset>
      <${ParameterFields}
        model=${form.version}
        texts=${form.parameters}
        onChange=${(parameters: ParameterTexts) => change({ parameters })}
        errorOf=${(name: string) => errorOf(`parameters/${name}`)}
      />
      <div class="grid">
        <label
          >Priority among your own jobs
          <select value=${form.priority} onInput=${onText('priority')}>
            <option value="">normal</option>
            <option value="high">high</option>
            <option value="low">low</option>
          </select>
        </label>
        <label
          ><input type="checkbox" checked=${form.reuse} onChange=${() => change({ reuse: !form.reuse })} />
          Take the video of an identical job of yours, if there is one
        </label>
        <div>
          <label
            >Labels, one <code>key=value</code> a line
            <textarea rows="2" value=${form.labels} onInput=${onText('labels')}></textarea>
          </label>
          <${Failure} error=${labelError} />
        </div>
        <label
          >Webhook URL
          <input type="text" value=${form.webhook} onInput=${onText('webhook')} placeholder="https://…" />
        </label>
        <label
          >Deadline in seconds
          <input
            type="number"
            min="1"
            max="604800"
            value=${form.timeout}
            onInput=${onText('timeout')}
            placeholder="default"
          />
        </label>
      </div>
      <${Failure} error=${optionError} />
    <//>
    <${Failure} error=${general} />
    <div class="actions submit">
      ${
        !isSending
          ? html`<button class="primary" disabled=${!isComplete(form)}>Make the video</button>`
          : html`<label class="upload"
                >${share < 1 ? `Sending ${sizeOf(form)}` : 'Waiting for the server'}
                <progress max="1" value=${share}></progress
              ></label>
              <button type="button" onClick=${stop}>Cancel</button>`
      }
      <${Estimate} check=${check} isChecking=${isChecking} />
    </div>
    ${isComplete(form) && html`<${Curl} form=${form} />`}
  </form>`
}

const sizeOf = ({ face, audio }: Form) => formatBytes((face.file?.size ?? 0) + (audio.file?.size ?? 0))

/** The options of the form. An error opens them, since it would be hidden otherwise. */
function Options({ hasError, children }: Children & { hasError: boolean }): VNode {
  const details = useRef<HTMLDetailsElement>(null)
  useEffect(() => {
    if (hasError && details.current) details.current.open = true
  }, [hasError])
  return html`<details class="card" ref=${details}>${children}</details>`
}

/** Checks the form by a dry run after each change. */
function useCheck(form: Form, sender: FileSender) {
  const [state, setState] = useState<{ check?: Check; error?: unknown; isChecking: boolean }>({ isChecking: false })
  useEffect(() => {
    const bytes = (form.face.file?.size ?? 0) + (form.audio.file?.size ?? 0)
    setState({ isChecking: false })
    sender.keep(filesOf(form))
    if (!isComplete(form) || bytes > MAX_CHECKED_BYTES) return undefined
    const ending = new AbortController()
    const { signal } = ending
    const run = async () => {
      setState({ isChecking: true })
      try {
        const check = await sendForm(form, sender, (fields) => checkJob(fields, signal))
        if (!signal.aborted) setState({ check, isChecking: false })
      } catch (error) {
        if (!signal.aborted) setState({ error, isChecking: false })
      }
    }
    const timer = setTimeout(() => void run(), REST_MS)
    return () => {
      clearTimeout(timer)
      ending.abort()
    }
  }, [form])
  return state
}

/** The fields whose errors have a place in the form, by that place. */
const FACES = ['video', 'image', 'video_url', 'image_url', 'video_path']
const SPEECHES = ['audio', 'audio_url', 'audio_path']
const OPTIONS = ['metadata', 'webhook_url', 'timeout_seconds', 'version', 'priority', 'reuse']
const PARAMETERS = PARAMETER_NAMES.map((name) => `parameters/${name}`)
const PLACED = [...FACES, ...SPEECHES, ...OPTIONS, ...PARAMETERS]

const isOf = (path: string, names: readonly string[]) =>
  names.some((name) => path === `/${name}` || path.startsWith(`/${name}/`))

/** The errors of these fields and of their parts. */
function fieldErrorOf(error: unknown, names: readonly string[]): string {
  if (!(error instanceof ProblemError)) return ''
  const own = error.errors.filter(({ path }) => isOf(path, names))
  return own.map(({ message }) => message).join('; ')
}

/** The errors of the fields that `isMeant` selects, each with the name of its field. */
function namedErrorsOf(error: unknown, isMeant: (path: string) => boolean): string {
  const errors = error instanceof ProblemError ? error.errors.filter(({ path }) => isMeant(path)) : []
  return errors.map(({ path, message }) => `${path.slice(1)} ${message}`).join('; ')
}

/** The error of the whole request, or the errors of fields that have no place in the form. */
const generalErrorOf = (error: unknown): string =>
  error instanceof ProblemError && error.errors.length > 0
    ? namedErrorsOf(error, (path) => !isOf(path, PLACED))
    : messageOf(error)

/** How long the run is expected to take, and what it will cost, where the server knows. */
function Estimate({ check, isChecking }: { check?: Check; isChecking: boolean }): VNode | null {
  if (isChecking) return html`<span class="dim">Checking…</span>`
  if (!check) return null
  const { estimate } = check
  const parts = [
    estimate?.run_seconds !== undefined && `about ${formatDuration(estimate.run_seconds * 1000)} of work`,
    estimate?.queued_seconds !== undefined &&
      estimate.queued_seconds > 0 &&
      `after ${formatDuration(estimate.queued_seconds * 1000)} in the queue`,
    estimate?.cost !== undefined && `${estimate.cost.amount} ${estimate.cost.currency}`,
  ].filter((part) => part !== false)
  return html`<span class="estimate">Ready${parts.length > 0 && `: ${parts.join(', ')}`}.</span>`
}

/** The same request as a command. */
function Curl({ form }: { form: Form }): VNode {
  const media = mediaOf(form)
  const files = media.flatMap(([name, value]) => (value instanceof File ? [[name, value.name] as const] : []))
  const texts = media.filter(([, value]) => typeof value === 'string')
  const command = curlOf({
    url: urlOf('jobs'),
    files: Object.fromEntries(files),
    fields: { ...Object.fromEntries(texts), ...optionsOf(form) },
    needsKey: credential.get() !== '',
  })
  return html`<${Command} text=${command} />`
}
