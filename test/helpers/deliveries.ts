import type { Delivery } from '../../src/jobs/webhooks/delivery.ts'
import type { Job } from '../../src/jobs/job.ts'
import type { Store } from '../../src/jobs/ports/store.ts'

/** A delivery as a transition makes it, due at 0, with what the test cares about. */
export const aDelivery = (job: Pick<Job, 'id'>, change: Partial<Delivery> = {}): Delivery => ({
  jobId: job.id,
  number: 1,
  revision: 1,
  caller: 'anonymous',
  url: 'https://hooks.example/a',
  host: 'hooks.example',
  event: 'job.succeeded',
  attempt: 1,
  body: '{"type":"job.succeeded"}',
  createdAt: 0,
  state: 'pending',
  dueAt: 0,
  triesMade: 0,
  tries: [],
  ...change,
})

/** A delivery whose last attempt was answered. */
export function delivered({ dueAt, ...delivery }: Delivery): Delivery {
  return { ...delivery, revision: delivery.revision + 1, state: 'delivered', tries: [{ at: 1, status: 200 }] }
}

/** The due deliveries, as `<number>@<host>/<time>`, in the order in which the store lists them. */
export async function dueOf(store: Pick<Store, 'dueDeliveries'>, now: number): Promise<string[]> {
  const found: string[] = []
  for await (const { number, host, dueAt } of store.dueDeliveries(now)) found.push(`${number}@${host}/${dueAt}`)
  return found
}
