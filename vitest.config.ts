import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

// The console runs in a browser, and a process of its own makes its files.
const IN_BROWSER = ['src/console/**', 'src/http/console/files.ts']

export default defineConfig({
  test: {
    // Most tests wait, for processes and timers of servers: more of them than processors are under way at a time. Vitest
    // takes a percentage as one of the processors, 100 % at most.
    maxWorkers: Math.ceil(1.5 * availableParallelism()),
    testTimeout: 45_000,
    hookTimeout: 45_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'fast',
          include: ['test/{unit,http}/**/*.test.ts'],
          // Files share a process and its modules: to load them for each file takes longer than most files' tests.
          isolate: false,
          // Each test makes an app and drops it: most of the garbage is young, and with a young generation that starts
          // small V8 collects it several times as often (30 s for all, instead of 27).
          execArgv: ['--max-semi-space-size=64', '--min-semi-space-size=32'],
          setupFiles: ['test/helpers/shared-process.ts'],
        },
      },
      { extends: true, test: { name: 'slow', include: ['test/{integration,process}/**/*.test.ts'] } },
    ],
    coverage: {
      provider: 'v8',
      include: ['src/**'],
      // Processes' entries run in forked servers (test/process), where the in-process counter sees nothing.
      exclude: ['src/server.ts', 'src/process/boot.ts', 'src/cli/**', 'src/client/cli.ts', ...IN_BROWSER],
      reporter: ['text-summary', 'json-summary'],
      thresholds: { lines: 95, branches: 90 },
    },
  },
})
