import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** A profile as `node --cpu-prof` writes it; times in µs. */
type Profile = {
  readonly nodes: readonly { readonly id: number; readonly callFrame: Frame; readonly children?: readonly number[] }[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}
type Frame = { readonly functionName: string; readonly url: string }

const IDLE = '(idle)'
const LOOP = 'node:http and the event loop'

/** Names the function where that says more than the file. Native and compiled code has no file. */
const BY_FUNCTION: readonly (readonly [part: string, name: RegExp])[] = [
  ['collecting garbage', /^\(garbage collector\)$/],
  ['handing the answer to the kernel', /^(writeUtf8String|writeLatin1String|writev)$/],
  ['view of the job, and its JSON', /^anonymous\d*$/],
  ['validation', /^validate\d+$/],
]

/** Whose time it is by file. */
const BY_FILE: readonly (readonly [part: string, file: RegExp])[] = [
  ['authentication', /\/src\/(auth\/|http\/(auth|signed-links))/],
  ['rate limits', /@fastify\/rate-limit|toad-cache|\/src\/http\/(rate-limits|caller)/],
  ['load shedding', /\/src\/http\/pressure/],
  ['rules for browsers', /@fastify\/cors|\/src\/http\/browsers/],
  ['uploads and bodies', /@fastify\/multipart|secure-json-parse|\/src\/http\/(uploads|bodies|arrival)/],
  ['log', /node_modules\/(pino|quick-format-unescaped|safe-stable-stringify)|\/src\/(log|http\/request-log)\./],
  ['view of the job, and its JSON', /fast-json-stringify|\/src\/(jobs\/view|http\/job-view)/],
  ['the core, its store and its queue', /\/src\/(jobs|store|queue|events|net)\/|sorted-btree/],
  ['routes', /\/src\/(http\/|app\.)/],
  ['Fastify', /node_modules\/(fastify|find-my-way|avvio)\//],
]

/** In µs: how long at the end of a profile is left out, since it is the end of the server. */
const TAIL = 500_000

/**
 * Where the processor time of the last `durationMs` of the newest profile in a folder went, as parts of 100. A sample
 * counts for the function that runs, or else for the innermost of its callers that a part knows.
 */
export function sharesOf(folder: string, durationMs: number): Map<string, number> {
  const [file = ''] = readdirSync(folder).filter((name) => name.endsWith('.cpuprofile'))
  const profile = JSON.parse(readFileSync(join(folder, file), 'utf8')) as Profile
  const owners = ownersOf(profile)
  const end = profile.timeDeltas.reduce((sum, delta) => sum + delta, 0) - TAIL
  const times = new Map<string, number>()
  let [at, busy] = [0, 0]
  profile.samples.forEach((node, n) => {
    const delta = profile.timeDeltas[n] ?? 0
    at += delta
    const owner = owners.get(node) ?? LOOP
    if (at > end || at < end - durationMs * 1000 || owner === IDLE) return
    times.set(owner, (times.get(owner) ?? 0) + delta)
    busy += delta
  })
  return new Map([...times].map(([owner, time]) => [owner, (time / busy) * 100] as const).sort(([, a], [, b]) => b - a))
}

/** The part of each node. Callers come before those they call. */
function ownersOf({ nodes }: Profile): Map<number, string> {
  const owners = new Map<number, string>()
  for (const { id, callFrame, children = [] } of nodes) {
    const inherited = owners.get(id) ?? LOOP
    const owner = callFrame.functionName === IDLE ? IDLE : (partOf(callFrame) ?? inherited)
    owners.set(id, owner)
    for (const child of children) owners.set(child, owner)
  }
  return owners
}

function partOf({ functionName, url }: Frame): string | undefined {
  const byFunction = url === '' ? BY_FUNCTION.find(([, name]) => name.test(functionName)) : undefined
  return (byFunction ?? BY_FILE.find(([, file]) => file.test(url)))?.[0]
}
