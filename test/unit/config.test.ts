import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import type { TSchema } from '@sinclair/typebox'
import { describe, expect, test } from 'vitest'
import {
  childEnvironment,
  ConfigError,
  ConfigSchema,
  loadConfig,
  SECRETS,
  shareWithLibraries,
} from '../../src/config/config.ts'
import { httpSettingsOf } from '../../src/app.ts'

/** Keeps the user's credentials out of the tests. */
const MODAL_CONFIG_PATH = '/nonexistent/modal.toml'
const load = (env: Record<string, string> = {}) => loadConfig({ MODAL_CONFIG_PATH, ...env })
const tokens = { MODAL_TOKEN_ID: 'ak-1', MODAL_TOKEN_SECRET: 'as-hush' }

const errorsOf = (env: Record<string, string>) => {
  try {
    load(env)
  } catch (error) {
    if (error instanceof ConfigError) return error.errors
    throw error
  }
  return []
}

describe('the configuration', () => {
  test('has the documented defaults and is frozen', () => {
    const config = load()
    expect(config).toMatchObject({ HOST: '0.0.0.0', PORT: 9000, JOB_STORE: 'memory', MAX_ATTEMPTS: 2 })
    expect(config).toMatchObject({ MODAL_APP: 'musetalk-poc', MODAL_FUNCTION: 'run_inference' })
    expect(Object.isFrozen(config)).toBe(true)
  })

  test('numbers and booleans are read from text', () => {
    const config = load({ PORT: '8080', INPUT_URL_ALLOW_PRIVATE: 'true' })
    expect({ PORT: config.PORT, INPUT_URL_ALLOW_PRIVATE: config.INPUT_URL_ALLOW_PRIVATE }).toEqual({
      PORT: 8080,
      INPUT_URL_ALLOW_PRIVATE: true,
    })
  })

  test('lists of origins and proxies are parsed', () => {
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

describe('an invalid configuration', () => {
  test('names every invalid variable at once', () => {
    const errors = errorsOf({
      PORT: 'eighty',
      LOG_LEVEL: 'loud',
      BODY_LIMIT_BYTES: '5',
      INPUT_URL_ALLOW_PRIVATE: 'yes',
    })
    expect(errors.map((error) => error.split(':')[0]).toSorted()).toEqual([
      ...['BODY_LIMIT_BYTES', 'INPUT_URL_ALLOW_PRIVATE', 'LOG_LEVEL', 'PORT'],
    ])
    expect(errors.join()).toContain('"eighty"')
  })

  test.each(['80.5', '65536', '-1', '0x', 'NaN', '9000 x'])('PORT=%s is refused', (PORT) => {
    expect(errorsOf({ PORT })).toHaveLength(1)
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
    ['WEBHOOK_SECRET', 'whsec_aHVzaA==', 'must have 24 to 64 bytes, but has 4'],
    ['WEBHOOK_TIMEOUT_SECONDS', '0', 'must be >= 1'],
    ['MAX_CONNECTIONS', 'many', 'must be integer'],
    ['JOB_STORE', 'postgres://db', 'must match pattern'],
    ['REDIS_PREFIX', 'a b', 'must match pattern'],
  ])('%s=%s is refused', (name, value, words) => {
    const errors = errorsOf({ [name]: value })
    expect(errors).toHaveLength(1)
    expect(errors[0]).toContain(`${name}: `)
    expect(errors[0]).toContain(words)
  })

  test('never shows a secret', () => {
    const errors = errorsOf({ PORT: 'x', MODAL_TOKEN_SECRET: 'as-hush' })
    expect(errors.join()).toContain('MODAL_TOKEN_ID')
    expect(errors.join()).not.toContain('as-hush')
    expect(errorsOf({ WEBHOOK_SECRET: 'whsec_as-hush' }).join()).not.toContain('as-hush')
  })

  test.each([
    ['JOB_STORE', 'redis://:pa/hush@h'],
    ['JOB_STORE', 'redis//u:p@hush@h'],
    ['MODAL_SERVER_URL', 'grpc://u:hu/hush@h'],
    ['TRUST_PROXY', 'http://u:hush@h'],
    ['CORS_ORIGINS', 'https//u:hush@h'],
    ['API_KEYS', `alice:${'a'.repeat(64)}:hush`],
  ])('does not show what may be a password in %s=%s', (name, value) => {
    const errors = errorsOf({ [name]: value })
    expect(errors.join()).toContain(`${name}: `)
    expect(errors.join()).not.toContain('hush')
  })
})

describe('proxies', () => {
  test('are read in lower case too, and shared with libraries, which reach this machine directly', () => {
    const config = load({ https_proxy: 'http://egress:3128', NO_PROXY: '.corp, ', no_proxy: 'x', ...tokens })
    expect(config).toMatchObject({ HTTPS_PROXY: 'http://egress:3128', NO_PROXY: '.corp, ' })
    const env: Record<string, string | undefined> = {}
    shareWithLibraries(config, env)
    expect(env).toMatchObject({ https_proxy: 'http://egress:3128', no_proxy: '.corp,localhost,127.0.0.1,::1' })
    expect(env).not.toHaveProperty('http_proxy')
  })

  test.each(['egress:3128', 'https://egress:3128', 'socks5://u:hush@egress', 'http://egress/path'])(
    'HTTPS_PROXY=%s is refused, and not shown',
    (HTTPS_PROXY) => {
      expect(errorsOf({ HTTPS_PROXY })).toEqual([expect.stringMatching(/^HTTPS_PROXY: must match pattern/)])
      expect(errorsOf({ HTTPS_PROXY }).join()).not.toContain('hush')
    },
  )
})

describe('secrets in files', () => {
  const folder = mkdtempSync(join(tmpdir(), 'secrets-'))
  const fileWith = (text: string) => {
    const path = join(folder, crypto.randomUUID())
    writeFileSync(path, text)
    return path
  }

  test('are read without the last line break', () => {
    const config = load({
      MODAL_TOKEN_ID_FILE: fileWith('ak-1\n'),
      MODAL_TOKEN_SECRET_FILE: fileWith('as-hush\r\n'),
      REDIS_URL_FILE: fileWith('redis://:hush@db:6379'),
      SIGNING_SECRET_FILE: fileWith(' two words \n\n'),
    })
    expect(config).toMatchObject({ BACKEND: 'modal', JOB_STORE: 'redis://:hush@db:6379' })
    expect(config).toMatchObject({ MODAL_TOKEN_SECRET: 'as-hush', SIGNING_SECRET: ' two words \n' })
    const env = { MODAL_TOKEN_ID: undefined, PATH: '/bin' }
    shareWithLibraries(config, env)
    expect(env).toEqual({ MODAL_TOKEN_ID: 'ak-1', MODAL_TOKEN_SECRET: 'as-hush', PATH: '/bin' })
  })

  test.each(SECRETS)('%s is one of them', (name) => {
    expect(errorsOf({ [`${name}_FILE`]: join(folder, 'none') })).toContain(
      `${name}_FILE: the file cannot be read (ENOENT)`,
    )
  })

  test('that cannot be used are refused by name, and not shown', () => {
    expect(errorsOf({ SIGNING_SECRET_FILE: folder })).toEqual(['SIGNING_SECRET_FILE: the file cannot be read (EISDIR)'])
    expect(errorsOf({ SIGNING_SECRET_FILE: fileWith('\n') })).toEqual(['SIGNING_SECRET_FILE: the file is empty'])
    const both = { SIGNING_SECRET: 'hush', SIGNING_SECRET_FILE: fileWith('hush') }
    expect(errorsOf(both)).toEqual(['SIGNING_SECRET, SIGNING_SECRET_FILE: set one of them'])
    const [error, ...others] = errorsOf({ WEBHOOK_SECRET_FILE: fileWith('hush') })
    expect(error).toMatch(/^WEBHOOK_SECRET: must begin with whsec_/)
    expect([error, ...others].join()).not.toContain('hush')
  })
})

describe('replicas', () => {
  const JOB_STORE = 'rediss://user:hush@db.example:6380/2'

  test('share the store of JOB_STORE under REDIS_PREFIX', () => {
    expect(load({ ...tokens, JOB_STORE })).toMatchObject({
      JOB_STORE,
      REDIS_PREFIX: 'musetalk',
      DATA_DIR_SHARED: false,
    })
  })

  test.each([
    ['redis://db:port', 'is not a Redis URL'],
    ['redis://db/jobs', 'must end with the host or with the number of a database'],
  ])('JOB_STORE=%s is refused', (store, words) => {
    expect(errorsOf({ ...tokens, JOB_STORE: store })).toEqual([expect.stringContaining(words)])
  })

  test('share the store of REDIS_URL, which may be set instead', () => {
    expect(load({ ...tokens, REDIS_URL: JOB_STORE }).JOB_STORE).toBe(JOB_STORE)
    expect(errorsOf({ REDIS_URL: JOB_STORE })).toEqual([expect.stringMatching(/^DATA_DIR_SHARED: the local backend/)])
    expect(errorsOf({ ...tokens, REDIS_URL: JOB_STORE, JOB_STORE: 'memory' })).toEqual([
      'JOB_STORE, REDIS_URL: set one of them',
    ])
    for (const REDIS_URL of ['db:6379', 'https://u:hush@db', 'redis:///1']) {
      const [error = '', ...others] = errorsOf({ ...tokens, REDIS_URL })
      expect([error.startsWith('REDIS_URL: '), error.includes('hush'), others]).toEqual([true, false, []])
    }
  })

  test('need a shared folder for the local backend', () => {
    expect(errorsOf({ JOB_STORE })).toEqual([expect.stringMatching(/^DATA_DIR_SHARED: the local backend/)])
    expect(errorsOf({ JOB_STORE, DATA_DIR_SHARED: 'true' })).toEqual([])
    expect(errorsOf({ JOB_STORE, ...tokens })).toEqual([])
    expect(errorsOf({ JOB_STORE: 'sqlite:./jobs.db' })).toEqual([])
  })
})

describe('the backend', () => {
  test('is assumed to be local if no credentials are found', () => {
    expect(load()).toMatchObject({ BACKEND: 'local', backendAssumed: true })
  })

  test('is modal if the environment has credentials', () => {
    expect(load(tokens)).toMatchObject({ BACKEND: 'modal', backendAssumed: false })
  })

  test("is modal if Modal's configuration file has credentials, else local", () => {
    const file = join(mkdtempSync(join(tmpdir(), 'config-')), 'modal.toml')
    writeFileSync(file, '[default]\n# token_id = "no"\nserver_url = "x"\n')
    expect(load({ MODAL_CONFIG_PATH: file }).BACKEND).toBe('local')
    writeFileSync(file, '[default]\ntoken_id = "ak-1"\ntoken_secret = "as-2"\n')
    expect(load({ MODAL_CONFIG_PATH: file }).BACKEND).toBe('modal')
  })

  test('is not assumed if BACKEND is set', () => {
    expect(load({ ...tokens, BACKEND: 'local' })).toMatchObject({ BACKEND: 'local', backendAssumed: false })
  })

  test('must be explicit in production, and modal needs credentials', () => {
    expect(errorsOf({ NODE_ENV: 'production' }).join()).toContain('BACKEND')
    expect(errorsOf({ NODE_ENV: 'production', AUTH: 'none', BACKEND: 'local' })).toEqual([])
    expect(errorsOf({ NODE_ENV: 'production', AUTH: 'none', ...tokens })).toEqual([])
    expect(errorsOf({ BACKEND: 'modal' }).join()).toContain('credentials')
  })
})

describe('the source of outputs', () => {
  const s3 = { S3_BUCKET: 'b', AWS_ACCESS_KEY_ID: 'k', AWS_SECRET_ACCESS_KEY: 'as-hush' }

  test('is refused without the settings that it needs', () => {
    expect(errorsOf({ ...tokens, OUTPUT_SOURCE: 'dir' })).toEqual(['OUTPUT_ROOT: OUTPUT_SOURCE=dir needs it'])
    expect(errorsOf({ ...tokens, OUTPUT_SOURCE: 's3' }).map((error) => error.split(':')[0])).toEqual(Object.keys(s3))
    expect(errorsOf({ ...tokens, OUTPUT_SOURCE: 's3', ...s3 })).toEqual([])
    expect(errorsOf({ ...tokens, OUTPUT_SOURCE: 'dir', OUTPUT_ROOT: '/mnt' })).toEqual([])
  })

  test('may be copied to a bucket from everywhere else, with the settings of that', () => {
    for (const source of [{}, tokens, { ...tokens, OUTPUT_SOURCE: 'dir', OUTPUT_ROOT: '/mnt' }]) {
      expect(errorsOf({ ...source, OUTPUT_STORE: 's3', ...s3 })).toEqual([])
      const missing = errorsOf({ ...source, OUTPUT_STORE: 's3' })
      expect(missing).toEqual(Object.keys(s3).map((name) => `${name}: OUTPUT_STORE=s3 needs it`))
    }
    expect(errorsOf({ ...tokens, OUTPUT_SOURCE: 's3', OUTPUT_STORE: 's3', ...s3 })).toEqual([
      expect.stringMatching(/^OUTPUT_STORE: .* in a bucket already/),
    ])
  })

  test('of Modal needs no folder that replicas share, with a bucket or without', () => {
    const redis = { REDIS_URL: 'redis://localhost:6379' }
    expect(errorsOf({ ...tokens, ...redis, OUTPUT_STORE: 's3', UPLOAD_STORE: 's3', ...s3 })).toEqual([])
    expect(errorsOf({ ...tokens, ...redis })).toEqual([])
    expect(errorsOf({ ...redis, OUTPUT_STORE: 's3', ...s3 }).join()).toContain('DATA_DIR_SHARED')
  })

  test('cannot be set for the local backend', () => {
    expect(errorsOf({ OUTPUT_SOURCE: 's3', ...s3 }).join()).toContain('OUTPUT_SOURCE')
    expect(errorsOf({ OUTPUT_SOURCE: 'dir' })).toEqual([])
  })

  test.each(['video.example', 'https://', 'https://a.example/?x', 'https://user:pw@a.example', 'ftp://a.example'])(
    'PUBLIC_URL=%s is refused',
    (PUBLIC_URL) => {
      expect(errorsOf({ PUBLIC_URL })).toHaveLength(1)
    },
  )

  test.each([',', 'a,', 'a,,b', ' ', 'a, '])('SIGNING_SECRET=%j is refused, and not shown', (SIGNING_SECRET) => {
    expect(errorsOf({ SIGNING_SECRET })).toEqual([expect.not.stringContaining('got')])
  })
})

describe('authentication', () => {
  const alice = `alice:${'a'.repeat(64)}:jobs:read`
  const oidc = { OIDC_ISSUER: 'https://issuer.example', OIDC_AUDIENCE: 'musetalk' }
  const production = { NODE_ENV: 'production', BACKEND: 'local' }

  test('is off if nothing is set; in production that must be explicit', () => {
    expect(errorsOf({})).toEqual([])
    expect(errorsOf(production)).toEqual([expect.stringMatching(/^AUTH: .*API_KEYS.*OIDC_ISSUER.*AUTH=none/)])
    for (const way of [{ AUTH: 'none' }, { API_KEYS: alice }, { API_KEYS_FILE: '/run/keys' }, oidc]) {
      expect(errorsOf({ ...production, ...way })).toEqual([])
    }
    expect(errorsOf({ ...production, API_KEYS: '' })).toHaveLength(1)
  })

  test('cannot be off and on at the same time', () => {
    expect(errorsOf({ AUTH: 'none', API_KEYS: alice })).toEqual(['AUTH, API_KEYS: choose one: none opens the server'])
    expect(errorsOf({ AUTH: 'none', API_KEYS_FILE: '/run/keys', ...oidc }).join()).toContain('choose one')
    expect(errorsOf({ AUTH: 'off' }).join()).toContain('AUTH')
  })

  test('by API keys refuses invalid entries by number and shows none of them', () => {
    const keys = { API_KEYS: `${alice},bob:hush-hush:admin,carol:${'a'.repeat(64)}:admin` }
    expect(errorsOf(keys)).toEqual([
      'API_KEYS: entry 2: the second part must be a SHA-256 digest of 64 hexadecimal digits, and has 9 characters',
      'API_KEYS: entry 3: the same key as in API_KEYS: entry 1, under another name',
    ])
    expect(errorsOf({ API_KEYS: ' , ' })).toEqual(['API_KEYS: contains no entry'])
  })

  test('by an issuer needs its https URL and an audience', () => {
    expect(errorsOf({ OIDC_ISSUER: oidc.OIDC_ISSUER }).join()).toContain('set both or neither')
    expect(errorsOf({ OIDC_AUDIENCE: oidc.OIDC_AUDIENCE }).join()).toContain('set both or neither')
    expect(errorsOf({ ...oidc, OIDC_ISSUER: 'http://localhost:8080/realms/one' })).toEqual([])
    expect(errorsOf({ ...oidc, OIDC_ISSUER: 'http://issuer.example' })).toEqual([
      'OIDC_ISSUER: must be https, unless its host is this machine',
    ])
    expect(errorsOf({ ...oidc, OIDC_SHARE: 'weight=2 max_running=4' })).toEqual([])
    expect(errorsOf({ ...oidc, OIDC_SHARE: 'weight=0' }).join()).toMatch(/^OIDC_SHARE: must be weight=N/)
    expect(errorsOf({ OIDC_SHARE: 'weight=2' }).join()).toContain('no such callers without OIDC_ISSUER')
    const shown = errorsOf({ ...oidc, OIDC_ISSUER: 'https://me:hush@issuer.example' }).join()
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

/** The documents are generated from the schema by `npm test -- run test/unit/config.test.ts -u`. */
describe('the generated documents', () => {
  const fileOf = (name: string) => (SECRETS.includes(name) ? ` \`${name}_FILE\` names a file with it.` : '')
  const variables = Object.entries(ConfigSchema.properties as Record<string, TSchema>)

  test('.env.example lists every variable with its default, all commented out', async () => {
    const entries = variables.map(([name, { description = '', enum: names, default: value = '' }]) => {
      const choices = names ? ` One of: ${(names as string[]).join(', ')}.` : ''
      return `# ${(description + fileOf(name)).replaceAll('`', '')}${choices}\n# ${name}=${String(value)}\n`
    })
    const head = '# Copy to .env and uncomment what you change. `npm start` reads it.\n'
    await expect([head, ...entries].join('\n')).toMatchFileSnapshot('../../.env.example')
    expect(parseEnv(readFileSync('.env.example', 'utf8'))).toEqual({})
  })

  // A page names the settings of each of its tables: <!-- settings: HOST PORT -->
  const TABLE = /<!-- settings: ([\w ]+) -->\n.*?<!-- \/settings -->/gs
  const rowOf = ([name, { description = '', default: value }]: [string, TSchema]) =>
    `| \`${name}\` | ${value === undefined ? '' : `\`${String(value)}\``} | ${description}${fileOf(name)} |`
  const withTables = (page: string) =>
    page.replace(TABLE, (_, names: string) => {
      const rows = names.split(' ').map((name) => rowOf([name, ConfigSchema.properties[name as 'HOST']]))
      const table = ['| Variable | Default | What it does |', '| --- | --- | --- |', ...rows].join('\n')
      return `<!-- settings: ${names} -->\n\n${table}\n\n<!-- /settings -->`
    })
  const namesIn = (page: string) => [...page.matchAll(TABLE)].flatMap(([, names = '']) => names.split(' '))

  test.each(['README.md', 'docs/configuration.md'])('the tables of settings in %s are up to date', async (path) => {
    const page = readFileSync(path, 'utf8')
    expect(namesIn(page).filter((name) => !(name in ConfigSchema.properties))).toEqual([])
    await expect(withTables(page)).toMatchFileSnapshot(`../../${path}`)
  })

  test('docs/configuration.md has every setting in one table, and the README ten of them', () => {
    const names = namesIn(readFileSync('docs/configuration.md', 'utf8'))
    expect(names.toSorted()).toEqual(variables.map(([name]) => name).toSorted())
    expect(namesIn(readFileSync('README.md', 'utf8'))).toHaveLength(10)
  })
})
