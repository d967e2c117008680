// The rooms of src/, top to bottom: an import goes to the same room or to one further down, never up.
const ROOMS = [
  ...['server.ts', 'app.ts', 'wiring/', 'http/', 'backend/', 'webhooks/', 'process/', 'store/', 'queue/', 'changes/'],
  ...[
    'counters/',
    'files/',
    'auth/',
    'metrics/',
    'redis/',
    'config/',
    'jobs/',
    'net/',
    'media/',
    'problems.ts',
    'lib/',
  ],
]
// Each is joined to the core by wiring/ alone, and knows no other: it has its port from jobs/ports/.
const ADAPTERS = 'http|backend|webhooks|store|queue|changes|counters|files|auth|metrics'
// A library stands in the room that is about it.
const LIBRARIES = {
  'modal|nice-grpc': 'backend/modal/',
  ioredis: '(redis|store|queue|changes|counters)/',
  bullmq: 'queue/bullmq/',
  jose: 'auth/',
  standardwebhooks: 'webhooks/',
  'prom-client': 'metrics/',
  'undici|ipaddr\\.js': 'net/',
  'mediabunny|file-type': 'media/',
}

/** The command line of the client, which runs on Node only. */
const CLI = '^src/client/cli[./]'

const forbid = (name, from, to) => ({ name, severity: 'error', from, to })
const escape = (path) => path.replace('.', '\\.')

export default {
  forbidden: [
    forbid('no-cycles', {}, { circular: true }),
    ...ROOMS.slice(1).map((room, n) =>
      forbid(
        `${room}-imports-down`,
        { path: `^src/${escape(room)}` },
        { path: ROOMS.slice(0, n + 1).map((above) => `^src/${escape(above)}`) },
      ),
    ),
    forbid('adapters-apart', { path: `^src/(${ADAPTERS})/` }, { path: `^src/(${ADAPTERS})/`, pathNot: '^src/$1/' }),
    forbid('core-knows-no-library', { path: '^src/(jobs|lib)/|^src/problems' }, { dependencyTypes: ['npm'] }),
    forbid('core-opens-no-connection', { path: '^src/jobs/' }, { path: '^src/net/', pathNot: '^src/net/url-' }),
    // Packed without the server and without any library, it runs where Node does not.
    forbid('client-apart', { path: '^src/client/', pathNot: CLI }, { pathNot: '^src/client/(?!cli[./])' }),
    forbid('cli-apart', { path: CLI }, { pathNot: '^src/client/', dependencyTypesNot: ['core'] }),
    forbid('server-knows-no-client', { path: '^src/', pathNot: '^src/(client|console)/' }, { path: '^src/client/' }),
    // The console runs in browsers: it knows the client and the two libraries that the server sends along.
    forbid(
      'console-apart',
      { path: '^src/console/' },
      { pathNot: '^src/(console|client)/|node_modules/(preact|htm)/|^api-schema$' },
    ),
    forbid('server-knows-no-console', { path: '^src/', pathNot: '^src/console/' }, { path: '^src/console/' }),
    ...Object.entries(LIBRARIES).map(([library, room]) =>
      forbid(`${library}-in-its-room`, { pathNot: `^src/${room}` }, { path: `node_modules/(${library})/` }),
    ),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'types', 'default'] },
  },
}
