import { createFifo } from '../../lib/fifo.ts'

/** A first-in-first-out line whose members can leave from anywhere and ask for their place. */
export type Line<T> = {
  /** Joins at the end; a key that stands in line already keeps its place. */
  push(key: string, value: T): void
  /** The first, which leaves; undefined where nobody waits. */
  shift(): T | undefined
  remove(key: string): void
  /** 1 for the first; undefined for who does not wait. O(log n). */
  position(key: string): number | undefined
}

type Member<T> = { readonly key: string; readonly value: T; readonly ticket: number }

/**
 * Members hold rising tickets. A place in line is the ticket less all who left before it: those who left from the
 * front are counted, those who left from the middle are kept as a sorted list that the front eats up again.
 */
export function createLine<T>(): Line<T> {
  const members = new Map<string, { readonly member: Member<T>; readonly leave: () => void }>()
  const order = createFifo<Member<T>>()
  let gaps: number[] = []
  let next = 0
  let front = 0

  /** The front has reached `ticket`: gaps behind it count no more. Trimmed in bulk, so that each is moved rarely. */
  const moveFront = (ticket: number) => {
    front = ticket
    const passed = countBelow(gaps, front)
    if (passed > 64 && passed > gaps.length / 2) gaps = gaps.slice(passed)
  }

  return {
    push(key, value) {
      if (members.has(key)) return
      const member: Member<T> = { key, value, ticket: next++ }
      members.set(key, { member, leave: order.add(member) })
    },
    shift() {
      const first = order.shift()
      if (!first) return undefined
      members.delete(first.key)
      moveFront(first.ticket + 1)
      return first.value
    },
    remove(key) {
      const found = members.get(key)
      if (!found) return
      found.leave()
      members.delete(key)
      const { ticket } = found.member
      gaps.splice(countBelow(gaps, ticket), 0, ticket)
      // Nobody is left to be counted for.
      if (members.size === 0) moveFront(next)
    },
    position(key) {
      const ticket = members.get(key)?.member.ticket
      if (ticket === undefined) return undefined
      return ticket - front + 1 - (countBelow(gaps, ticket) - countBelow(gaps, front))
    },
  }
}

/** How many of a sorted list are below a value. */
function countBelow(sorted: readonly number[], value: number): number {
  let [low, high] = [0, sorted.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((sorted[middle] ?? Infinity) < value) low = middle + 1
    else high = middle
  }
  return low
}
