import type { Redis } from 'ioredis'
import { runCommand } from '../../redis/connection.ts'
import { INSERT, PAGE, REMOVE, REOPEN, UPDATE, UPDATE_DELIVERY } from './lua.ts'
import { UnreadableRecord } from './records.ts'

/** `keys` are those that Redis is told of, `parameters` what else the script is given. */
type Script<Answer> = (keys: readonly string[], parameters: readonly (string | number)[]) => Promise<Answer>

/** What a write says that is bound to a revision: `taken` is a delivery's number, `unreadable` a record in its way. */
export type WriteAnswer = 'done' | 'stale' | 'taken' | 'unreadable'

/** Each one round trip. Rejects with `store_unavailable` when Redis is away. */
export type Scripts = {
  /** With `existing` come the id and the record of that job. */
  readonly insert: Script<['inserted' | 'taken' | 'full' | 'caller-full'] | ['existing', string, string]>
  readonly update: Script<WriteAnswer>
  readonly reopen: Script<WriteAnswer | 'full' | 'caller-full'>
  readonly remove: Script<WriteAnswer>
  readonly updateDelivery: Script<WriteAnswer>
  readonly page: Script<[places: string[], records: (string | null)[]]>
}

/** The scripts on a connection: sent by their digest, in full only where Redis does not know them. */
export function createScripts(redis: Redis): Scripts {
  const define = <Answer>(name: string, lua: string): Script<Answer> => {
    redis.defineCommand(name, { lua })
    const command = (redis as unknown as Record<string, (...args: unknown[]) => Promise<Answer>>)[name]
    if (!command) throw new Error(`${name} is no command`)
    return (keys, parameters) => runCommand(redis, () => command.call(redis, keys.length, ...keys, ...parameters))
  }
  return {
    insert: define('storeInsert', INSERT),
    update: define('storeUpdate', UPDATE),
    reopen: define('storeReopen', REOPEN),
    remove: define('storeRemove', REMOVE),
    updateDelivery: define('storeUpdateDelivery', UPDATE_DELIVERY),
    page: define('storePage', PAGE),
  }
}

/** Whether a write was made; false where the stored revision is another one. Throws for what must not be written. */
export function isDone(answer: WriteAnswer): boolean {
  if (answer === 'unreadable') throw new UnreadableRecord('a record in the way of a write cannot be read')
  if (answer === 'taken') throw new Error('a delivery of this number exists already')
  return answer === 'done'
}
