import { html } from 'htm/preact'
import type { VNode } from 'preact'

export const OverviewPage = (): VNode => html`<h1>Overview</h1>`
