import { crowd } from './inflight/crowd.ts'
import { overhead } from './inflight/overhead.ts'
import { throughput } from './inflight/throughput.ts'
import { queued } from './inflight/queued.ts'
import type { Part } from './part.ts'

/** Modal at scale: what the server costs beside the bare SDK, and how it fares with many calls in flight. */
export const inflight: Part = {
  name: 'inflight',
  sections: [
    overhead,
    throughput,
    crowd({
      name: '1,000',
      size: 1000,
      // All of them together still find a slot each in the server's pool of 1,280.
      probes: 250,
      probeEveryMs: 40,
      endPollMs: 5,
      reachWithinMs: 100,
      visibleWithinMs: 250,
      deadlineMs: 100_000,
    }),
    crowd({
      name: '10,000',
      size: 10_000,
      probes: 400,
      probeEveryMs: 50,
      endPollMs: 200,
      reachWithinMs: 250,
      visibleWithinMs: 10_000,
      deadlineMs: 200_000,
      steady: { pollRpcsPerSecond: 1300, residentMb: 350, getWithinMs: 100 },
    }),
    queued({
      name: 'queued-10,000',
      size: 10_000,
      visibleWithinMs: 1_000,
      reachWithinMs: 100,
      deadlineMs: 200_000,
      steady: { rpcsPerSecond: 150, residentMb: 300, getWithinMs: 20 },
    }),
    queued({
      name: 'queued-100,000',
      size: 100_000,
      bootWithinMs: 5_000,
      visibleWithinMs: 3_000,
      deadlineMs: 280_000,
      steady: { residentMb: 1_000 },
    }),
  ],
}
