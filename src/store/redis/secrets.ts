import type { Redis } from 'ioredis'
import { runCommand } from '../../redis/connection.ts'
import type { SecretKeeper } from '../../jobs/ports/store.ts'
import type { Keys } from './keys.ts'
import { newSecret } from '../secrets.ts'

/** Secrets beside the jobs, the same for every process that has these jobs: the first of several to ask makes one. */
export function createRedisSecrets(redis: Redis, { secrets }: Keys): SecretKeeper {
  const find = (name: string) => runCommand(redis, () => redis.hget(secrets, name))
  return {
    async secret(name) {
      const known = await find(name)
      if (known !== null) return known
      await runCommand(redis, () => redis.hsetnx(secrets, name, newSecret()))
      return String(await find(name))
    },
  }
}
