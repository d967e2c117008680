import type { Redis } from 'ioredis'
import type { DueDelivery } from '../../jobs/webhooks/delivery.ts'
import { runCommand } from '../../redis/connection.ts'
import type { DeliveryStore } from '../../jobs/ports/store.ts'
import { behind, type Keys, upTo } from './keys.ts'
import { OWED_PAGE } from './pages.ts'
import { deliveryOf, deliveryRecordOf, dueAtPlace } from './records.ts'
import { isDone, type Scripts } from './scripts.ts'

/** The outbox. A try writes a delivery's record, never its body again. */
export function createDeliveries(redis: Redis, { keys, scripts }: { keys: Keys; scripts: Scripts }): DeliveryStore {
  const duePage = (first: string, last: string) =>
    runCommand(redis, () => redis.zrange(keys.due, first, last, 'BYLEX', 'LIMIT', 0, OWED_PAGE))

  async function* due(now: number): AsyncIterable<DueDelivery> {
    for (let first = '-'; ;) {
      const places = await duePage(first, upTo(now))
      yield* places.map(dueAtPlace)
      const last = places.at(-1)
      if (last === undefined || places.length < OWED_PAGE) return
      first = behind(last)
    }
  }

  return {
    async deliveriesOf(jobId) {
      const fields = await runCommand(redis, () => redis.hgetall(keys.deliveries(jobId)))
      const numbers = Object.keys(fields).filter((field) => /^\d+$/.test(field))
      const deliveries = numbers.map((number) => deliveryOf(fields[number] ?? '', fields[`${number}:body`] ?? ''))
      return deliveries.sort((a, b) => a.number - b.number)
    },
    dueDeliveries: due,
    async updateDelivery(delivery, expectedRevision) {
      const { jobId, number } = delivery
      const parameters = [keys.root, jobId, number, expectedRevision, deliveryRecordOf(delivery)]
      return isDone(await scripts.updateDelivery([keys.deliveries(jobId)], parameters))
    },
  }
}
