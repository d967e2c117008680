import axe from 'axe-core'
import type { Locator, Page } from 'playwright-core'
import { expect } from 'vitest'
import type { JobView } from '../../src/jobs/view.ts'

/** The origin of the server, and that of its bucket if it has one. */
export type Watched = { readonly url: string; readonly store?: string }

/** What a page may not do: each is a failure of the test that opened it. */
export async function watch(page: Page, { url, store }: Watched): Promise<() => Promise<void>> {
  const origins = [url, ...(store === undefined ? [] : [store])]
  const wrong: string[] = []
  page.on('pageerror', ({ message }) => wrong.push(message))
  page.on('console', (message) => {
    // A refused request is logged by the browser itself; the tests look at what the page makes of it.
    const isRefusal = message.text().startsWith('Failed to load resource') || message.text().includes('ERR_')
    if (message.type() !== 'debug' && !isRefusal) wrong.push(message.text())
  })
  page.on('request', (request) => {
    if (!/^(blob|data):/.test(request.url()) && !origins.includes(new URL(request.url()).origin)) {
      wrong.push(request.url())
    }
  })
  // As a string, like all that runs in the page: it knows other globals than this file.
  await page.addInitScript(
    `addEventListener('securitypolicyviolation', (e) => console.error('CSP', e.violatedDirective))`,
  )
  return async () => {
    expect(wrong).toEqual([])
    await expectAccessible(page)
  }
}

/** A property of an element, such as `currentTime` of a player. */
export const readProperty = (locator: Locator, name: string) =>
  locator.evaluate((element, key) => (element as unknown as Record<string, unknown>)[key], name)

/** Asks until it is as expected, for as long as a busy machine may need. */
export const expectSoon = <T>(ask: () => Promise<T>) => expect.poll(ask, { timeout: 20_000 })

export async function expectAccessible(page: Page): Promise<void> {
  await page.evaluate(axe.source)
  const violations = await page.evaluate<string[]>(
    `axe.run().then(({ violations }) => violations.map(({ id, impact, nodes }) => id + ' ' + impact + ' ' + nodes[0].html))`,
  )
  expect(violations.filter((violation) => /^\S+ (serious|critical)/.test(violation))).toEqual([])
}

export const post = async <T = JobView>(server: { readonly url: string }, path: string, body: object, headers = {}) => {
  const answer = await fetch(server.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })
  return (await answer.json()) as T
}
