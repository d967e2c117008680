import { type Parameter, parameters } from 'api-schema'
import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useId } from 'preact/hooks'
import { Words } from './ui.ts'

/** Texts of the inputs by the name of their parameter; an empty one is not set. */
export type ParameterTexts = Readonly<Record<string, string>>

export const PARAMETER_NAMES = parameters.map(({ name }) => name)

/** The values as the API takes them, of the parameters that the model has. */
export function parameterValues(texts: ParameterTexts, model: string): Record<string, unknown> {
  const set = parameters.filter((one) => isOf(one, model) && (texts[one.name] ?? '') !== '')
  return Object.fromEntries(set.map(({ name, type }) => [name, valueOf(type, texts[name] ?? '')]))
}

const isOf = ({ model }: Parameter, version: string) => model === 'any' || model === version

function valueOf(type: Parameter['type'], text: string): unknown {
  if (type === 'integer') return Number(text)
  return type === 'boolean' ? text === 'true' : text
}

export type ParameterFieldsProps = {
  readonly model: string
  readonly texts: ParameterTexts
  readonly onChange: (texts: ParameterTexts) => void
  /** What is wrong, by the name of the parameter. */
  readonly errorOf: (name: string) => string
}

/** An input for each parameter that the model has, with its range and what it does. */
export const ParameterFields = ({ model, texts, onChange, errorOf }: ParameterFieldsProps): VNode =>
  html`<div class="grid">
    ${parameters
      .filter((one) => isOf(one, model))
      .map(
        (one) =>
          html`<${ParameterField}
            key=${one.name}
            parameter=${one}
            text=${texts[one.name] ?? ''}
            error=${errorOf(one.name)}
            onText=${(text: string) => onChange({ ...texts, [one.name]: text })}
          />`,
      )}
  </div>`

type ParameterFieldProps = {
  readonly parameter: Parameter
  readonly text: string
  readonly error: string
  readonly onText: (text: string) => void
}

function ParameterField({ parameter, text, error, onText }: ParameterFieldProps): VNode {
  const { name, type, minimum, maximum, description } = parameter
  const id = useId()
  const options = type === 'boolean' ? ['true', 'false'] : parameter.enum
  const onInput = (event: Event) => onText((event.target as HTMLInputElement | HTMLSelectElement).value)
  const range = minimum === undefined || maximum === undefined ? '' : `${minimum} to ${maximum}. `
  const shared = { id, name, value: text, onInput, 'aria-describedby': `${id}-about` }
  return html`<div>
    <label for=${id}>${name}</label>
    ${
      options
        ? html`<select ...${shared}>
            <option value="">default</option>
            ${options.map((option) => html`<option value=${option}>${option}</option>`)}
          </select>`
        : html`<input ...${shared} type="number" step="1" min=${minimum} max=${maximum} placeholder="default" />`
    }
    <p class="hint" id=${`${id}-about`}>${range}<${Words} text=${sentenceOf(description)} /></p>
    ${error !== '' && html`<p class="failure" role="alert">${error}</p>`}
  </div>`
}

/** The description without the name of the model, which is chosen in the form. */
function sentenceOf(description: string): string {
  const text = description.replace(/^`v1(5)?` only: /, '')
  return text.charAt(0).toUpperCase() + text.slice(1)
}
