import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import type { TSchema } from '@sinclair/typebox'
import { describe, expect, test } from 'vitest'
import { childEnvironment, ConfigError, ConfigSchema, loadConfig } from '../../src/config/config.ts'
import { httpSettingsOf } from '../../src/http/settings.ts'

/** No credentials of this machine's user must leak into a test. */
const MODAL_CONFIG_PATH = '/nonexistent/modal.toml'
const load = (env: Record<string, string> = {}) => loadConfig({ MODAL_CONFIG_PATH, ...env })
const tokens = { MODAL_TOKEN_ID: 'ak-1', MODAL_TOKEN_SECRET: 'as-hush' }

const faultsOf = (env: Record<string, string>) => {
  try {
    load(env)
  } catch (error) {
    if (error instanceof ConfigError) return error.faults
    throw error
  }
  return []
}

describe('what is read', () => {
  test('nothing set gives the documented defaults, frozen', () => {
    const config = load()
    expect(config).toMatchObject({ HOST: '0.0.0.0', PORT: 9000, JOB_STORE: 'memory', MAX_ATTEMPTS: 2 })
    expect(config).toMatchObject({ MODAL_APP: 'musetalk-poc', MODAL_FUNCTION: 'run_inference' })
    expect(Object.isFrozen(config)).toBe(true)
  })

  test('numbers and booleans are read from text', () => {
    const config = load({ PORT: '8080', INPUT_URL_ALLOW_PRIVATE: 'true' })
    expect([config.PORT, config.INPUT_URL_ALLOW_PRIVATE]).toEqual([8080, true])
  })

  test('lists of origins and proxies reach the application as such', () => {
    const { trustedProxies, corsOrigins } = httpSettingsOf(
      load({ TRUST_PROXY: '10.0.0.0/8, 2001:db8::1', CORS_ORIGINS: 'https://a.example, http://localhost:3000' }),
    )
    expect(trustedProxies).toEqual(['10.0.0.0/8', '2001:db8::1'])
    expect(corsOrigins).toEqual(['https://a.example', 'http://localhost:3000'])
    expect(httpSettingsOf(load({ TRUST_PROXY: '2' })).trustedProxies).toBe(2)
    expect(httpSettingsOf(load())).toMatchObject({ trustedProxies: undefined, corsOrigins: [], publicDocs: undefined })
    expect(httpSettingsOf(load({ PUBLIC_DOCS: 'false' })).publicDocs).toBe(false)
  })

  test('an empty variable counts as unset', () => {
    expect(load({ PORT: '', BACKEND: '' })).toMatchObject({ PORT: 9000, BACKEND: 'local' })
  })
})

describe('what is refused', () => {
  test('every faulty variable is named at once', () => {
    const faults = faultsOf({
      PORT: 'eighty',
      LOG_LEVEL: 'loud',
      BODY_LIMIT_BYTES: '5',
      INPUT_URL_ALLOW_PRIVATE: 'yes',
    })
    expect(faults.map((fault) => fault.split(':')[0]).toSorted()).toEqual([
      ...['BODY_LIMIT_BYTES', 'INPUT_URL_ALLOW_PRIVATE', 'LOG_LEVEL', 'PORT'],
    ])
    expect(faults.join()).toContain('"eighty"')
  })

  test.each(['80.5', '65536', '-1', '0x', 'NaN', '9000 x'])('PORT=%s', (PORT) => {
    expect(faultsOf({ PORT })).toHaveLength(1)
  })

  test.each([
    ['CORS_ORIGINS', '*', 'every page'],
    ['CORS_ORIGINS', 'https://a.example, app.example.com', '"app.example.com" is not an origin'],
    ['CORS_ORIGINS', 'https://*.example.com/', 'write https://*.example.com'],
    ['CORS_ORIGINS', 'https://App.example.com', 'write https://app.example.com'],
    ['CORS_ORIGINS', 'https://app.example.com:443', 'write https://app.example.com'],
    ['CORS_ORIGINS', 'https://a.example,', '"" is not an origin'],
    ['CORS_ORIGINS', 'ftp://a.example', 'is not an origin'],
    ['CORS_ORIGINS', 'null', 'is not an origin'],
    ['TRUST_PROXY', 'true', '"true" is not an address'],
    ['TRUST_PROXY', '0', '1 to 32'],
    ['TRUST_PROXY', '33', '1 to 32'],
    ['TRUST_PROXY', '-1', 'is not an address'],
    ['TRUST_PROXY', '10.0.0.0/33', 'is not an address'],
    ['TRUST_PROXY', '0.0.0.0/0', 'is not an address'],
    ['TRUST_PROXY', '10.0.0.1, proxy.example', '"proxy.example" is not an address'],
    ['RATE_LIMIT_SUBMIT_PER_MINUTE', '-1', 'must be >= 0'],
    ['WEBHOOK_SECRET', 'hush', 'must begin with whsec_'],
    ['WEBHOOK_SECRET', 'whsec_aHVzaA==', 'must hold 24 to 64 bytes, and holds 4'],
    ['WEBHOOK_TIMEOUT_SECONDS', '0', 'must be >= 1'],
    ['MAX_CONNECTIONS', 'many', 'must be integer'],
    ['JOB_STORE', 'postgres://db', 'must match pattern'],
    ['REDIS_PREFIX', 'a b', 'must match pattern'],
  ])('%s=%s', (name, value, words) => {
    const faults = faultsOf({ [name]: value })
    expect(faults).toHaveLength(1)
    expect(faults[0]).toContain(`${name}: `)
    expect(faults[0]).toContain(words)
  })

  test('a secret is never shown', () => {
    const faults = faultsOf({ PORT: 'x', MODAL_TOKEN_SECRET: 'as-hush' })
    expect(faults.join()).toContain('MODAL_TOKEN_ID')
    expect(faults.join()).not.toContain('as-hush')
    expect(faultsOf({ WEBHOOK_SECRET: 'whsec_as-hush' }).join()).not.toContain('as-hush')
  })

  test.each([
    ['JOB_STORE', 'redis://:pa/hush@h'],
    ['JOB_STORE', 'redis//u:p@hush@h'],
    ['MODAL_SERVER_URL', 'grpc://u:hu/hush@h'],
    ['TRUST_PROXY', 'http://u:hush@h'],
    ['CORS_ORIGINS', 'https//u:hush@h'],
    ['API_KEYS', `alice:${'a'.repeat(64)}:hush`],
  ])('what may be a password in %s=%s is not shown', (name, value) => {
    const faults = faultsOf({ [name]: value })
    expect(faults.join()).toContain(`${name}: `)
    expect(faults.join()).not.toContain('hush')
  })
})

describe('many replicas', () => {
  const JOB_STORE = 'rediss://user:hush@db.example:6380/2'

  test('their store, and what its keys begin with, are taken as they are', () => {
    expect(load({ ...tokens, JOB_STORE })).toMatchObject({
      JOB_STORE,
      REDIS_PREFIX: 'musetalk',
      DATA_DIR_SHARED: false,
    })
  })

  test.each([
    ['redis://db:port', 'is not a URL of a Redis'],
    ['redis://db/jobs', 'must end with the number of a database'],
  ])('JOB_STORE=%s', (store, words) => {
    expect(faultsOf({ ...tokens, JOB_STORE: store })).toEqual([expect.stringContaining(words)])
  })

  test('the local backend needs a folder that all of them share', () => {
    expect(faultsOf({ JOB_STORE })).toEqual([expect.stringMatching(/^DATA_DIR_SHARED: the local backend/)])
    expect(faultsOf({ JOB_STORE, DATA_DIR_SHARED: 'true' })).toEqual([])
    expect(faultsOf({ JOB_STORE, ...tokens })).toEqual([])
    expect(faultsOf({ JOB_STORE: 'sqlite:./jobs.db' })).toEqual([])
  })
})

describe('which backend', () => {
  test('local, as an assumption, where no credentials are found', () => {
    expect(load()).toMatchObject({ BACKEND: 'local', backendAssumed: true })
  })

  test('modal where the environment has credentials', () => {
    expect(load(tokens)).toMatchObject({ BACKEND: 'modal', backendAssumed: false })
  })

  test('modal where the configuration file has credentials, and not where it has none', () => {
    const file = join(mkdtempSync(join(tmpdir(), 'config-')), 'modal.toml')
    writeFileSync(file, '[default]\n# token_id = "no"\nserver_url = "x"\n')
    expect(load({ MODAL_CONFIG_PATH: file }).BACKEND).toBe('local')
    writeFileSync(file, '[default]\ntoken_id = "ak-1"\ntoken_secret = "as-2"\n')
    expect(load({ MODAL_CONFIG_PATH: file }).BACKEND).toBe('modal')
  })

  test('what is set is taken: no assumption, no warning', () => {
    expect(load({ ...tokens, BACKEND: 'local' })).toMatchObject({ BACKEND: 'local', backendAssumed: false })
  })

  test('production does not guess, and modal without credentials is refused', () => {
    expect(faultsOf({ NODE_ENV: 'production' }).join()).toContain('BACKEND')
    expect(faultsOf({ NODE_ENV: 'production', AUTH: 'none', BACKEND: 'local' })).toEqual([])
    expect(faultsOf({ NODE_ENV: 'production', AUTH: 'none', ...tokens })).toEqual([])
    expect(faultsOf({ BACKEND: 'modal' }).join()).toContain('credentials')
  })
})

describe('where outputs come from', () => {
  const s3 = { S3_BUCKET: 'b', AWS_ACCESS_KEY_ID: 'k', AWS_SECRET_ACCESS_KEY: 'as-hush' }

  test('a source is refused without what it needs', () => {
    expect(faultsOf({ ...tokens, OUTPUT_SOURCE: 'dir' })).toEqual(['OUTPUT_ROOT: OUTPUT_SOURCE=dir needs it'])
    expect(faultsOf({ ...tokens, OUTPUT_SOURCE: 's3' }).map((fault) => fault.split(':')[0])).toEqual(Object.keys(s3))
    expect(faultsOf({ ...tokens, OUTPUT_SOURCE: 's3', ...s3 })).toEqual([])
    expect(faultsOf({ ...tokens, OUTPUT_SOURCE: 'dir', OUTPUT_ROOT: '/mnt' })).toEqual([])
  })

  test('the local backend has its own', () => {
    expect(faultsOf({ OUTPUT_SOURCE: 's3', ...s3 }).join()).toContain('OUTPUT_SOURCE')
    expect(faultsOf({ OUTPUT_SOURCE: 'dir' })).toEqual([])
  })

  test.each(['video.example', 'https://', 'https://a.example/?x', 'https://user:pw@a.example', 'ftp://a.example'])(
    'PUBLIC_URL=%s is refused',
    (PUBLIC_URL) => {
      expect(faultsOf({ PUBLIC_URL })).toHaveLength(1)
    },
  )

  test.each([',', 'a,', 'a,,b', ' ', 'a, '])('SIGNING_SECRET=%j is refused, and not shown', (SIGNING_SECRET) => {
    expect(faultsOf({ SIGNING_SECRET })).toEqual([expect.not.stringContaining('got')])
  })
})

describe('who may come in', () => {
  const alice = `alice:${'a'.repeat(64)}:jobs:read`
  const oidc = { OIDC_ISSUER: 'https://issuer.example', OIDC_AUDIENCE: 'musetalk' }
  const production = { NODE_ENV: 'production', BACKEND: 'local' }

  test('everybody, where nothing is set, but not in production: there it must be said', () => {
    expect(faultsOf({})).toEqual([])
    expect(faultsOf(production)).toEqual([expect.stringMatching(/^AUTH: .*API_KEYS.*OIDC_ISSUER.*AUTH=none/)])
    for (const way of [{ AUTH: 'none' }, { API_KEYS: alice }, { API_KEYS_FILE: '/run/keys' }, oidc]) {
      expect(faultsOf({ ...production, ...way })).toEqual([])
    }
    expect(faultsOf({ ...production, API_KEYS: '' })).toHaveLength(1)
  })

  test('not everybody and somebody at the same time', () => {
    expect(faultsOf({ AUTH: 'none', API_KEYS: alice })).toEqual(['AUTH, API_KEYS: choose one: none lets everybody in'])
    expect(faultsOf({ AUTH: 'none', API_KEYS_FILE: '/run/keys', ...oidc }).join()).toContain('choose one')
    expect(faultsOf({ AUTH: 'off' }).join()).toContain('AUTH')
  })

  test('whom entries without a fault name; faults go by number and show nothing', () => {
    const keys = { API_KEYS: `${alice},bob:hush-hush:admin,carol:${'a'.repeat(64)}:admin` }
    expect(faultsOf(keys)).toEqual([
      'API_KEYS: entry 2: the second part must be a SHA-256 digest of 64 hexadecimal digits, and has 9 characters',
      'API_KEYS: entry 3: the same key as in API_KEYS: entry 1, under another name',
    ])
    expect(faultsOf({ API_KEYS: ' , ' })).toEqual(['API_KEYS: holds no entry'])
  })

  test('whom an issuer vouches for, told in full and in the open', () => {
    expect(faultsOf({ OIDC_ISSUER: oidc.OIDC_ISSUER }).join()).toContain('set both or neither')
    expect(faultsOf({ OIDC_AUDIENCE: oidc.OIDC_AUDIENCE }).join()).toContain('set both or neither')
    expect(faultsOf({ ...oidc, OIDC_ISSUER: 'http://localhost:8080/realms/one' })).toEqual([])
    expect(faultsOf({ ...oidc, OIDC_ISSUER: 'http://issuer.example' })).toEqual([
      'OIDC_ISSUER: must be https, unless its host is this machine',
    ])
    const shown = faultsOf({ ...oidc, OIDC_ISSUER: 'https://me:hush@issuer.example' }).join()
    expect(shown).toContain('credentials')
    expect(shown).not.toContain('hush')
  })
})

test('a child process sees what programs need, and nothing of the server', () => {
  const env = {
    PATH: '/bin',
    HOME: '/root',
    LC_ALL: 'C',
    CUDA_VISIBLE_DEVICES: '0',
    PYTHONPATH: '/m',
    ...tokens,
    PORT: '1',
    AWS_KEY: 'x',
  }
  expect(Object.keys(childEnvironment(env)).toSorted()).toEqual([
    ...['CUDA_VISIBLE_DEVICES', 'HOME', 'LC_ALL', 'PATH', 'PYTHONPATH'],
  ])
})

/** Both documents are written from the schema by `npm test -- run test/unit/config.test.ts -u`. */
describe('the documents', () => {
  const variables = Object.entries(ConfigSchema.properties as Record<string, TSchema>)

  test('.env.example holds every variable with its default, and changes nothing as it is', async () => {
    const entries = variables.map(([name, { description = '', enum: names, default: value = '' }]) => {
      const choices = names ? ` One of: ${(names as string[]).join(', ')}.` : ''
      return `# ${description.replaceAll('`', '')}${choices}\n# ${name}=${String(value)}\n`
    })
    const head = '# Copy to .env and take the # away where you want another value. `npm start` reads it.\n'
    await expect([head, ...entries].join('\n')).toMatchFileSnapshot('../../.env.example')
    expect(parseEnv(readFileSync('.env.example', 'utf8'))).toEqual({})
  })

  test("the README's table is the schema", async () => {
    const rows = variables.map(([name, { description = '', default: value }]) => {
      return `| \`${name}\` | ${value === undefined ? '' : `\`${String(value)}\``} | ${description} |`
    })
    const table = ['| Variable | Default | What it does |', '| --- | --- | --- |', ...rows].join('\n')
    const [before, , behind] = readFileSync('README.md', 'utf8').split(/<!-- \/?configuration -->/)
    const wanted = `${before ?? ''}<!-- configuration -->\n\n${table}\n\n<!-- /configuration -->${behind ?? ''}`
    await expect(wanted).toMatchFileSnapshot('../../README.md')
  })
})
