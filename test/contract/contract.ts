import { describe, expect, test } from 'vitest'

/** One promise of a port: a sentence, and a body that arranges its own state with a fresh adapter each time. */
export type ContractCase<Port> = readonly [promise: string, check: (open: () => Promise<Port>) => Promise<void>]

type Closable = { close(): Promise<void> }

/** Registers every case of a port's contract for one adapter. */
export function testContract<Port extends Closable>(
  adapter: string,
  cases: readonly ContractCase<Port>[],
  open: () => Port | Promise<Port>,
): void {
  describe(adapter, () => {
    for (const [promise, check] of cases) test(promise, () => runCase(check, open))
  })
}

/** Makes adapters in which a test replaces some members of a good one by broken ones. */
export const brokenFrom =
  <Port>(open: () => Port) =>
  (change: (good: Port) => Partial<Port>) =>
  (): Port => {
    const good = open()
    return { ...good, ...change(good) }
  }

/** Registers a test of the contract itself: the case named by `promise` must fail for this broken adapter. */
export function testContractCatches<Port extends Closable>(
  broken: string,
  { cases, promise, open }: { cases: readonly ContractCase<Port>[]; promise: string; open: () => Port },
): void {
  test(`the contract catches ${broken}`, async () => {
    const found = cases.find(([name]) => name === promise)
    if (!found) throw new Error(`no case is named '${promise}'`)
    await expect(runCase(found[1], open)).rejects.toThrow()
  })
}

async function runCase<Port extends Closable>(
  check: ContractCase<Port>[1],
  open: () => Port | Promise<Port>,
): Promise<void> {
  const opened: Port[] = []
  try {
    await check(async () => {
      const port = await open()
      opened.push(port)
      return port
    })
  } finally {
    await Promise.all(opened.map((port) => port.close()))
  }
}
