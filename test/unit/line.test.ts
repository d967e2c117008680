import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createLine } from '../../src/queue/in-process/line.ts'

test('whatever joins and leaves, the line is what a list would be', () => {
  const step = fc.oneof(
    fc.record({ verb: fc.constant('push' as const), key: fc.nat(30) }),
    fc.record({ verb: fc.constant('remove' as const), key: fc.nat(30) }),
    fc.record({ verb: fc.constant('shift' as const), key: fc.constant(0) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 600 }), (steps) => {
      const line = createLine<number>()
      let list: number[] = []
      for (const { verb, key } of steps) {
        if (verb === 'push') {
          line.push(String(key), key)
          if (!list.includes(key)) list.push(key)
        } else if (verb === 'remove') {
          line.remove(String(key))
          list = list.filter((member) => member !== key)
        } else {
          expect(line.shift()).toBe(list.shift())
        }
        for (let member = 0; member <= 30; member++) {
          const place = list.indexOf(member)
          expect(line.position(String(member))).toBe(place < 0 ? undefined : place + 1)
        }
      }
    }),
  )
})
