import { html } from 'htm/preact'
import type { VNode } from 'preact'

export type Bar = {
  readonly key: string | number
  /** Text below the bar; empty for most, since there is little room. */
  readonly label: string
  /** Shown when the pointer is on the bar. */
  readonly title: string
  /** Its parts from bottom to top, each with the class that colours it. */
  readonly parts: readonly { readonly kind: string; readonly value: number }[]
}

const valueOf = ({ parts }: Bar) => parts.reduce((sum, { value }) => sum + value, 0)

/** Bars side by side. `summary` says the same in words. */
export function BarChart({ bars, summary }: { bars: readonly Bar[]; summary: string }): VNode {
  const most = Math.max(1e-9, ...bars.map(valueOf))
  return html`<div class="chart" role="img" aria-label=${summary}>
    ${bars.map(
      (bar) =>
        html`<div class="column" key=${bar.key} title=${bar.title}>
          <div class="bars">
            ${bar.parts
              .filter(({ value }) => value > 0)
              .map(
                ({ kind, value }) => html`<span class=${kind} style=${{ height: `${(value / most) * 100}%` }}></span>`,
              )}
          </div>
          <small>${bar.label}</small>
        </div>`,
    )}
  </div>`
}

/** A number with what it counts. */
export const Figure = ({ value, name, note }: { value: unknown; name: string; note?: string }): VNode =>
  html`<div class="figure">
    <strong>${value}</strong> <span>${name}</span> ${note !== undefined && html`<small class="dim">${note}</small>`}
  </div>`
