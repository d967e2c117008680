import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createFifo } from '../../src/lib/collections.ts'

test('a FIFO behaves like an array, also when values are removed from its middle', () => {
  const step = fc.oneof(fc.constant('shift' as const), fc.constant('add' as const), fc.nat(20))
  const property = fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (steps) => {
    const queue = createFifo<number>()
    const model: number[] = []
    const leave: (() => void)[] = []
    const removed = (id: number | undefined) => {
      if (id === undefined) return
      leave[id]?.()
      if (model.includes(id)) model.splice(model.indexOf(id), 1)
    }
    for (const kind of steps) {
      if (kind === 'add') model.push(leave.push(queue.add(leave.length)) - 1)
      else if (kind === 'shift') expect(queue.shift()).toBe(model.shift())
      else removed(kind)
      expect({ size: queue.size, first: queue.first }).toEqual({ size: model.length, first: model[0] })
    }
    const rest: number[] = []
    for (let first = queue.first; first !== undefined; first = queue.first) {
      rest.push(first)
      leave[first]!()
    }
    expect(rest).toEqual(model.slice(0, rest.length))
    expect(rest).toHaveLength(model.length)
  })
  fc.assert(property, { seed: 3, numRuns: 150 })
})
