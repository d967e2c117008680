import { globSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { join } from 'node:path'
import { finishBoot, startBoot } from '../process/boot.ts'

// Loads the modules of the server without starting it, which fills the compile cache for the first start.
const src = join(import.meta.dirname, '..')
/** The server, and every adapter that it may load while it boots. */
const BOOT = [
  'server.ts',
  '{auth,changes,counters,files,queue,redis,store,webhooks,backend/local}/**/*.ts',
  'backend/modal/check.ts',
  'metrics/otlp.ts',
]
/** Loaded when they are first used. */
const LATER = ['backend/modal/{backend,download}.ts', 'http/docs/document.ts', 'metrics/prometheus.ts']

const load = (patterns: readonly string[]) =>
  Promise.all(globSync(patterns, { cwd: src }).map((path) => import(join(src, path))))

// In the two phases of a server: V8 accepts cached code only with the flags with which it was compiled.
startBoot()
await load(BOOT)
finishBoot()
await load(LATER)
flushCompileCache()
