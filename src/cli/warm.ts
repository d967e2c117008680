import { flushCompileCache } from 'node:module'
import { startBoot } from '../process/boot.ts'

// Loads the modules of the server without starting it, which fills the compile cache for the first start.
startBoot()
await Promise.all([
  ...[
    '../config/config.ts',
    '../process/log.ts',
    '../wiring/wire.ts',
    '../app.ts',
    '../store/memory/store.ts',
    '../files/outputs-directory.ts',
    '../files/outputs-modal.ts',
  ].map((path) => import(path)),
  ...[
    '../backend/local/backend.ts',
    '../backend/modal/backend.ts',
    '../backend/modal/download.ts',
    '../http/docs/document.ts',
    '../metrics/prometheus.ts',
    'close-with-grace',
  ].map((path) => import(path)),
])
flushCompileCache()
