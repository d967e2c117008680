import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { ConfigSchema, SECRETS } from '../../src/config/config.ts'
import { GAUGES } from '../../src/jobs/ports/metrics.ts'
import { MAX_HEAD_BYTES } from '../../src/http/plugins/connections.ts'
import { balancerConfig } from '../helpers/balancer.ts'

const withoutComments = (text: string) => text.replace(/^\s*#.*$/gm, '')
const readRoot = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

/** Names of Docker, Kubernetes and Node themselves. */
const OTHERS = new Set([
  'WITH_FFMPEG',
  'NODE_IMAGE',
  'VERSION',
  'REVISION',
  'SOURCE',
  'NODE_COMPILE_CACHE',
  'MALLOC_ARENA_MAX',
])

test.each(['compose.yaml', 'docs/kubernetes.yaml', 'Dockerfile'])(
  'every setting in %s is one that the server reads',
  (path) => {
    const named = withoutComments(readRoot(path)).match(/\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b/g) ?? []
    const known = new Set([
      ...Object.keys(ConfigSchema.properties),
      ...SECRETS.map((name) => `${name}_FILE`),
      ...OTHERS,
    ])
    expect(named.length).toBeGreaterThan(0)
    expect(named.filter((name) => !known.has(name))).toEqual([])
  },
)

/** The services of compose.yaml by name, as text; the alias `*server` is resolved. */
function services(): Map<string, string> {
  const compose = readRoot('compose.yaml')
  const section = (name: string) => new RegExp(`^${name}:.*\n((?: .*\n|\n)+)`, 'm').exec(compose)?.[1] ?? ''
  const blocks = section('services').matchAll(/^ {2}([\w-]+):(.*\n(?: {4}.*\n|\n)*)/gm)
  return new Map(
    [...blocks].map(([, name = '', text = '']) => [name, text.includes('*server') ? section('x-server') : text]),
  )
}

test('the logs of every service of compose.yaml are rotated', () => {
  expect([...services().keys()]).toEqual(['server-1', 'server-2', 'redis', 'balancer'])
  for (const [name, text] of services()) expect(text, name).toMatch(/^ +logging: \*logging$/m)
  expect(readRoot('compose.yaml')).toMatch(
    /^x-logging: &logging\n {2}driver: json-file\n {2}options: \{ max-size: \d+m, max-file: '\d+' \}$/m,
  )
})

test('every service of compose.yaml runs without new privileges, and a replica with no more privileges than it needs', () => {
  for (const [name, text] of services()) {
    expect(text, name).toMatch(/^ +security_opt: \['no-new-privileges:true'\]$/m)
    if (!replicas().includes(name)) continue
    for (const line of ['read_only: true', 'tmpfs: [/tmp]', 'cap_drop: [ALL]', 'mem_limit: 1g']) {
      expect(text, name).toContain(`\n  ${line}\n`)
    }
  }
})

test('the final image has no package manager, and its base can be pinned by digest', () => {
  const stages = withoutComments(readRoot('Dockerfile')).split(/^FROM /m)
  expect(stages).toHaveLength(3)
  const [before = '', , final = ''] = stages
  expect(before).toMatch(/^ARG NODE_IMAGE=node:24-slim$/m)
  for (const stage of stages.slice(1)) expect(stage).toMatch(/^\$\{NODE_IMAGE\}/)
  expect(final).toContain('rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx')
  expect(final).not.toMatch(/^(RUN|CMD|ENTRYPOINT) .*\b(npm|npx) (?!\/)/m)
  // After the last step that needs root.
  expect(final.indexOf('\nUSER node')).toBeGreaterThan(final.lastIndexOf('\nRUN '))
})

test('the image fills the compile cache as the user, in the folder and with the flags of the server', () => {
  const { scripts } = JSON.parse(readRoot('package.json')) as { scripts: Record<'start' | 'prepare', string> }
  const flagsOf = (command: string) => command.match(/--(?:max|heap)-[\w-]+=\d+/g)
  const folderOf = (text: string) => /NODE_COMPILE_CACHE=(\S+)/.exec(text)?.[1]
  const dockerfile = withoutComments(readRoot('Dockerfile'))
  const [, build = '', final = ''] = dockerfile.split(/^FROM /m)
  for (const text of [scripts.start, scripts.prepare, final]) {
    expect(folderOf(text)).toBe('node_modules/.cache/compile')
    expect(flagsOf(text.replaceAll('", "', ' '))).toEqual(flagsOf(scripts.start))
  }
  const userAt = (stage: string, step: string) =>
    /USER (\w+)\s*$/.exec(stage.slice(0, stage.indexOf(step)).trimEnd())?.[1]
  expect(userAt(build, 'RUN npm run -s prepare')).toBe('node')
  expect(/^USER (\w+)$/m.exec(final)?.[1]).toBe('node')
})

const replicas = () => [...services()].filter(([, text]) => text.includes('JOB_STORE')).map(([name]) => name)

test('the rolling update in docs/operations.md replaces every replica of compose.yaml once', () => {
  const page = readRoot('docs/operations.md')
  const replaced = [...page.matchAll(/^docker compose up -d --no-deps --wait (\S+)$/gm)].map(([, name]) => name)
  expect(replaced).toEqual(replicas())
})

test('the balancer of compose.yaml resolves every replica at run time', () => {
  const config = balancerConfig()
  const upstream = /upstream servers \{\n([^}]*)\}/.exec(config)?.[1] ?? ''
  const servers = [...upstream.matchAll(/^ +server (\S+) (\w+) /gm)].map(([, address, first]) => [address, first])
  expect(servers).toEqual(replicas().map((name) => [`${name}:9000`, 'resolve']))
  expect(upstream).toMatch(/^ +zone \w+ \d+k;$/m)
  // Docker's DNS, with a TTL of our own.
  expect(config).toMatch(/^ *resolver 127\.0\.0\.11 valid=\d+s/m)
})

test('the balancer of compose.yaml never takes a replica out of use, and refuses headers that a replica would refuse', () => {
  const config = balancerConfig()
  expect(config.match(/^ +server server-\d:9000 .*$/gm)).toHaveLength(2)
  expect(config.match(/^ +server server-\d:9000 .* max_fails=0;$/gm)).toHaveLength(2)
  const [, count, kilobytes] = /^ +large_client_header_buffers (\d+) (\d+)k;$/m.exec(config) ?? []
  // The first buffer of nginx, and the headers that it adds.
  const [firstBytes, addedBytes] = [1024, 512]
  expect(firstBytes + Number(count) * Number(kilobytes) * 1024 + addedBytes).toBeLessThan(MAX_HEAD_BYTES)
})

test('the balancer of compose.yaml compresses JSON and text, and never events', () => {
  const types = /^ *gzip_types (.*);$/m.exec(balancerConfig())?.[1]?.split(' ')
  expect(types).toEqual(['application/json', 'application/problem+json', 'application/openapi+json', 'text/plain'])
})

test('the probes of the manifest request paths that the server has', () => {
  const paths = [...readRoot('docs/kubernetes.yaml').matchAll(/path: (\/\w+)/g)].map(([, path]) => path)
  expect(new Set(paths)).toEqual(new Set(['/healthz', '/readyz', '/metrics']))
})

test('the manifest lets Prometheus scrape the port of the metrics, and clients only reach the other one', () => {
  const manifest = withoutComments(readRoot('docs/kubernetes.yaml'))
  const valueOf = (name: string) => new RegExp(`name: ${name}, value: '([^']*)'`).exec(manifest)?.[1]
  expect(valueOf('METRICS_HOST')).toBe('0.0.0.0')
  expect(/prometheus\.io\/port: '(\d+)'/.exec(manifest)?.[1]).toBe(valueOf('METRICS_PORT'))
  expect(manifest).toContain(`{ name: metrics, containerPort: ${String(valueOf('METRICS_PORT'))} }`)
  const [service = ''] = manifest.split(/^---$/m).filter((object) => object.includes('\nkind: Service\n'))
  expect([...service.matchAll(/targetPort: (\w+)/g)].map(([, port]) => port)).toEqual(['http'])
  expect(
    [...manifest.matchAll(/metadata\.name: (\S+) .*\n +ports: \[\{ port: (http|metrics) \}\]/g)].map((m) => m.slice(1)),
  ).toEqual([
    ['ingress-nginx', 'http'],
    ['monitoring', 'metrics'],
  ])
})

test('the manifest has a disruption budget, an autoscaler on a metric that exists, and a network policy', () => {
  const manifest = readRoot('docs/kubernetes.yaml')
  const kinds = [...manifest.matchAll(/^kind: (\w+)$/gm)].map(([, kind]) => kind)
  expect(kinds).toEqual([
    ...['Deployment', 'PersistentVolumeClaim', 'Service'],
    ...['PodDisruptionBudget', 'HorizontalPodAutoscaler', 'NetworkPolicy'],
  ])
  const scaledBy = [...manifest.matchAll(/metric: \{ name: musetalk_(\w+) \}/g)].map(([, name]) => name)
  expect(scaledBy).toEqual(['jobs_in_flight'])
  for (const name of scaledBy) expect(GAUGES).toHaveProperty(name!)
  const { default: polls } = ConfigSchema.properties.MODAL_MAX_POLLS_PER_SECOND
  const [, share] = /MODAL_MAX_POLLS_PER_SECOND, value: '(\d+)'/.exec(manifest) ?? []
  expect(Number(share) * Number(/maxReplicas: (\d+)/.exec(manifest)?.[1])).toBe(polls)
})

const PAGES = ['README.md', 'CHANGELOG.md', 'modal_app/README.md', 'samples/README.md']
PAGES.push(...readdirSync('docs').flatMap((name) => (name.endsWith('.md') ? [`docs/${name}`] : [])))

test.each(PAGES)('the files and headings that %s links to exist', (page) => {
  const withoutCode = (text: string) => text.replace(/^ *```.*?^ *```$/gms, '')
  // As GitHub names them.
  const anchorsOf = (text: string) =>
    [...withoutCode(text).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, '')
        .replaceAll(' ', '-'),
    )
  const links = [...withoutCode(readRoot(page)).matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)/g)]
  for (const [, path = '', anchor] of links) {
    const target = path === '' ? page : join(dirname(page), path)
    expect(existsSync(target), `${page}: ${target}`).toBe(true)
    if (anchor !== undefined) expect(anchorsOf(readRoot(target)), `${page}: ${target}`).toContain(anchor)
  }
})

test('the liveness probe of docs/kubernetes.yaml tolerates a server that is busy for some seconds', () => {
  const probe = /livenessProbe:\s*\{(.*)\}$/m.exec(readRoot('docs/kubernetes.yaml'))?.[1] ?? ''
  expect(Number(/timeoutSeconds: (\d+)/.exec(probe)?.[1])).toBeGreaterThanOrEqual(5)
})

test('the image has an init, and labels that say what it is and from where', () => {
  const [, , final = ''] = withoutComments(readRoot('Dockerfile')).split(/^FROM /m)
  expect(final).toMatch(/apt-get install -y --no-install-recommends tini /)
  expect(final).toContain('ENTRYPOINT ["tini", "-s", "--"]')
  const labels = [...final.matchAll(/org\.opencontainers\.image\.(\w+)=/g)].map(([, name]) => name)
  expect(labels).toEqual(['title', 'description', 'licenses', 'version', 'revision', 'source'])
  const { license, description } = JSON.parse(readRoot('package.json')) as Record<string, string>
  expect(final).toContain(`licenses="${license}"`)
  expect(final).toContain(`description="${description}"`)
})

const workflows = ['ci', 'release'].map((name) => readRoot(`.github/workflows/${name}.yml`))

test('the workflows use actions by commit, with the tag beside it, and may only read unless a job says more', () => {
  const used = workflows.flatMap((text) => [...text.matchAll(/uses: (.*)$/gm)].map(([, action]) => action))
  expect(used.length).toBeGreaterThan(10)
  const byCommit = /^[\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/
  expect(used.filter((action) => !byCommit.test(action!) && action !== './.github/workflows/ci.yml')).toEqual([])
  for (const text of workflows) expect(text).toMatch(/^permissions:\n {2}contents: read\n\w/m)
})

test('the release publishes an image of two architectures, with SBOM and provenance, on a base by digest', () => {
  const release = workflows[1] ?? ''
  expect(release).toMatch(/^ +platforms: linux\/amd64,linux\/arm64\n +push: true$/m)
  expect(release).toMatch(/^ +sbom: true\n +provenance: mode=max$/m)
  expect(release).toContain('NODE_IMAGE=${{ steps.base.outputs.image }}')
  const built = [...release.matchAll(/^ {12}([A-Z_]+)=/gm)].map(([, name]) => name)
  const args = [...readRoot('Dockerfile').matchAll(/^ARG ([A-Z_]+)/gm)].map(([, name]) => name)
  expect(built).toEqual(['NODE_IMAGE', 'VERSION', 'REVISION', 'SOURCE'])
  expect(args).toEqual(expect.arrayContaining(built))
})

test('the client is published with the repository that its provenance names, and the image by a name in lower case', () => {
  const release = workflows[1] ?? ''
  const [, set = ''] =
    /^ +npm pkg delete private\n +npm pkg set (.*)\n +npm publish .*--provenance$/m.exec(release) ?? []
  expect(set).toBe('repository.type=git repository.url="git+$GITHUB_SERVER_URL/$GITHUB_REPOSITORY.git"')
  const [, script = ''] = /run: (echo "name=.*) >>"\$GITHUB_OUTPUT"$/m.exec(release) ?? []
  const env = { GITHUB_REPOSITORY: 'Acme/Lips', REGISTRY: 'images.example' }
  expect(execFileSync('bash', ['--norc', '-c', script], { env, encoding: 'utf8' })).toBe(
    'name=images.example/acme/lips\n',
  )
  expect(release).toContain('tags: ${{ steps.name.outputs.name }}:${{ needs.notes.outputs.version }}')
})

test('the notes of a release are the section of its version in the changelog, without its heading', () => {
  const [, script = ''] = /^ +(awk -v heading=.*?) CHANGELOG\.md/m.exec(workflows[1] ?? '') ?? []
  const changelog = [
    ...[
      '# Changelog',
      '',
      '## [Unreleased]',
      '',
      '- soon',
      '',
      '## [1.10.0] - 2026-12-01',
      '',
      '### Added',
      '',
      '- one',
    ],
    ...['', '## [1.1.0] - 2026-11-26', '', '- two', '', '[1.10.0]: https://example.com/compare/v1.1.0...v1.10.0', ''],
  ].join('\n')
  const notesOf = (VERSION: string) =>
    execFileSync('sh', ['-c', script], { input: changelog, encoding: 'utf8', env: { PATH: process.env.PATH, VERSION } })
  expect(notesOf('1.10.0').trim()).toBe('### Added\n\n- one')
  expect(notesOf('1.1.0').trim()).toBe('- two')
  expect(notesOf('1.1')).toBe('')
})

/** Licences that ask for their text and copyright line to be kept, and for nothing of the code that uses them. */
const LICENCES = ['0BSD', 'Apache-2.0', 'BSD-3-Clause', 'ISC', 'MIT', 'MPL-2.0', 'Unlicense', '(MIT OR CC0-1.0)']

test('docs/security.md lists the licences of all packages that the server installs', () => {
  type Lock = { packages: Record<string, { dev?: boolean; license?: string; link?: boolean }> }
  const { packages } = JSON.parse(readRoot('package-lock.json')) as Lock
  const installed = Object.entries(packages).filter(
    ([path, { dev, link }]) => path.startsWith('node_modules/') && !dev && !link,
  )
  expect(installed.length).toBeGreaterThan(100)
  const found = new Set(installed.map(([path, { license = path }]) => license))
  expect([...found].filter((license) => !LICENCES.includes(license))).toEqual([])
  const [, listed = ''] = /^- \*\*Licences\.\*\*.*? under (.*?)\. The image/m.exec(readRoot('docs/security.md')) ?? []
  expect([...listed.matchAll(/`([^`]+)`/g)].map(([, name]) => name).toSorted()).toEqual([...found].toSorted())
})
