import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Most tests wait, for processes and timers of servers: more of them than processors are under way at a time.
    maxWorkers: '150%',
    testTimeout: 20_000,
    hookTimeout: 20_000,
    coverage: {
      provider: 'v8',
      include: ['src/**'],
      // Processes' entries run in forked servers (test/process), where the in-process counter sees nothing.
      exclude: ['src/server.ts', 'src/process/boot.ts', 'src/cli/**'],
      reporter: ['text-summary', 'json-summary'],
      thresholds: { lines: 95, branches: 90 },
    },
  },
})
