import { setTimeout as sleep } from 'node:timers/promises'
import { type ControlPlane, type Disruption, status } from '../helpers/control-plane/control-plane.ts'
import { DISRUPTIONS, stopped } from '../helpers/modal-answers.ts'

/** A time of trouble at Modal. `run` resolves once it has passed. */
type Spell = { readonly name: string; run(plane: ControlPlane): Promise<void> }

export type Random = {
  readonly pick: <T>(from: readonly T[]) => T
  readonly between: (low: number, high: number) => number
}

const POLL = 'FunctionGetOutputs'
const SPAWN = 'FunctionMap'
const LOOKUPS = [SPAWN, 'FunctionGet', 'AuthTokenGet'] as const

/** Disrupts every matching RPC for `lastingMs`. */
const during = (name: string, lastingMs: number, disruptions: readonly Disruption[]): Spell => ({
  name,
  async run(plane) {
    for (const disruption of disruptions) plane.disrupt(disruption)
    await sleep(lastingMs)
    plane.clearDisruptions()
  },
})

/** The troubles of MODAL.md that last, each within the times for which the server waits. */
const LASTING: readonly Spell[] = [
  during(
    'a throttle of everything',
    3_000,
    [SPAWN, POLL, 'FunctionCallCancel'].map((method) => ({ method, retryAfterSeconds: 1 })),
  ),
  during('a spend limit', 6_000, [
    { method: SPAWN, code: status.RESOURCE_EXHAUSTED, message: 'workspace billing cycle spend limit reached' },
  ]),
  during(
    'refused credentials',
    6_000,
    LOOKUPS.map((method) => ({ method, code: status.UNAUTHENTICATED })),
  ),
  during(
    'a refused permission',
    4_000,
    LOOKUPS.map((method) => ({ method, code: status.PERMISSION_DENIED })),
  ),
  during('polls answered early and empty', 5_000, [{ method: POLL, empty: true }]),
  during('no input is taken', 3_000, [
    { method: SPAWN, empty: true },
    { method: 'FunctionPutInputs', empty: true },
  ]),
  during('blobs that cannot be read', 3_000, [{ method: 'DOWNLOAD' }]),
  during(
    'slow answers',
    4_000,
    [SPAWN, POLL].map((method) => ({ method, delayMs: 800 })),
  ),
  {
    name: 'an outage',
    async run(plane) {
      await plane.stop()
      await sleep(2_000)
      await plane.start()
    },
  },
]

const SUDDEN: readonly Spell[] = [
  { name: 'auth tokens that expire at once', run: async (plane) => plane.revokeTokens() },
  {
    name: 'an app that is stopped and deployed anew',
    async run(plane) {
      plane.undeploy('musetalk-poc', 'run_inference')
      plane.deploy('musetalk-poc', 'run_inference')
    },
  },
  ...[status.NOT_FOUND, status.FAILED_PRECONDITION, status.ABORTED].map((code) => ({
    name: `one spawn refused with ${status[code]}`,
    run: async (plane: ControlPlane) => plane.disrupt({ method: SPAWN, code, times: 1 }),
  })),
  {
    name: 'one answer without anything unfinished',
    async run(plane) {
      const open = plane.calls().findLast(({ endedAt }) => endedAt === undefined)
      if (open) plane.disrupt({ method: POLL, callId: open.callId, expired: true, times: 1 })
    },
  },
]

/** Draws one trouble after another until the signal aborts; gives how often there was which. */
export async function castSpells(
  plane: ControlPlane,
  { pick, between }: Random,
  signal: AbortSignal,
): Promise<Map<string, number>> {
  const counts = new Map<string, number>()
  const shortDisruptions = Object.entries(DISRUPTIONS).flatMap(([method, disruptions]) =>
    disruptions
      .filter((disruption) => !disruption.expired && !(method === SPAWN && stopped.includes(disruption as never)))
      .map((disruption) => ({ ...disruption, method })),
  )
  const shortSpell = (): Spell => ({
    name: 'a few disruptions of one kind',
    run: async () => plane.disrupt({ ...pick(shortDisruptions), times: Math.ceil(between(0, 6)) }),
  })
  while (!signal.aborted) {
    const spell = pick([pick(LASTING), pick(SUDDEN), shortSpell(), shortSpell()])
    counts.set(spell.name, (counts.get(spell.name) ?? 0) + 1)
    await spell.run(plane)
    await sleep(between(200, 2_500))
  }
  plane.clearDisruptions()
  return counts
}
