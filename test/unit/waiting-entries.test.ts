import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createWaitingEntries } from '../../src/queue/in-process/queue.ts'

test('waiting entries have the order and the positions of a list, whatever is added, removed and shifted', () => {
  const step = fc.oneof(
    fc.record({ verb: fc.constant('add' as const), key: fc.nat(30) }),
    fc.record({ verb: fc.constant('remove' as const), key: fc.nat(30) }),
    fc.record({ verb: fc.constant('shift' as const), key: fc.constant(0) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 600 }), (steps) => {
      const waiting = createWaitingEntries<number>()
      let list: number[] = []
      for (const { verb, key } of steps) {
        if (verb === 'add') {
          waiting.add(String(key), key)
          if (!list.includes(key)) list.push(key)
        } else if (verb === 'remove') {
          waiting.remove(String(key))
          list = list.filter((member) => member !== key)
        } else {
          expect(waiting.shift()).toBe(list.shift())
        }
        for (let member = 0; member <= 30; member++) {
          const index = list.indexOf(member)
          expect(waiting.position(String(member))).toBe(index < 0 ? undefined : index + 1)
        }
      }
    }),
  )
})
