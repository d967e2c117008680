import { onTestFinished } from 'vitest'
import { type Client, type ClientOptions, createClient, type ProblemError } from '../../src/client/index.ts'
import { aBody, startApp, type TestApp } from './app.ts'
import { listen } from './listen.ts'
import { openRelay } from './relay.ts'

type AppOptions = Parameters<typeof startApp>[0]

/** An app that is closed after the test. */
export async function startAppOfTest(options?: AppOptions): Promise<TestApp> {
  const app = await startApp(options)
  onTestFinished(() => app.close())
  return app
}

/** A client of a server, with a connection between them that can be broken. */
export async function connected(options?: AppOptions, more: Partial<ClientOptions> = {}) {
  const app = await startAppOfTest(options)
  const relay = await openRelay((await listen(app.app)).port)
  return { app, relay, client: createClient({ baseUrl: relay.url, ...more }) }
}

/** The id of a job that runs. */
export async function running({ app, client }: { app: TestApp; client: Client }): Promise<string> {
  const { job_id: id } = await client.submit(aBody)
  await app.untilStatus(id, 'running')
  return id
}

/** What a call rejects with; undefined where it does not. */
export const rejection = (work: Promise<unknown>): Promise<ProblemError | undefined> =>
  work.then(
    () => undefined,
    (error: unknown) => error as ProblemError,
  )
