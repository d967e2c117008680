import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, onTestFinished } from 'vitest'

/** Debian's name first. */
const NAMES = ['chromium', 'chromium-browser', 'google-chrome']
const executablePath = NAMES.flatMap((name) =>
  (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, name)),
).find((path) => existsSync(path))

/** A page that is closed after the test. */
export type OpenPage = (url: string) => Promise<Page>

/** A suite in a real browser; skipped, which the output says, where the machine has none. */
export function describeInBrowser(name: string, suite: (open: OpenPage) => void, flags: readonly string[] = []): void {
  if (executablePath === undefined) process.stderr.write(`skipped: ${name}: no ${NAMES.join(' or ')} on PATH\n`)
  describe.skipIf(executablePath === undefined)(name, { timeout: 120_000 }, () => {
    let browser: Browser | undefined
    beforeAll(async () => {
      // Tests may run as root, where its sandbox does not.
      browser = await chromium.launch({
        executablePath: executablePath ?? '',
        args: ['--no-sandbox', '--disable-gpu', ...flags],
      })
    }, 60_000)
    afterAll(() => browser?.close())
    suite(async (url) => {
      const page = await browser!.newPage({ viewport: { width: 1400, height: 1200 } })
      onTestFinished(() => page.close())
      page.setDefaultTimeout(30_000)
      await page.goto(url)
      return page
    })
  })
}
