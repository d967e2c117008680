import { describe, expect, test } from 'vitest'
import { isPublicAddress, URL_MAX_LENGTH, checkUrlForm, checkUrlHost, checkUrl } from '../../src/net/url-rule.ts'

const STRICT = { allowPrivate: false }

const NOT_PUBLIC_HOSTS = [
  ['loopback', '127.0.0.1'],
  ['loopback, another', '127.255.255.254'],
  ['decimal', '2130706433'],
  ['octal', '0177.0.0.1'],
  ['octal, whole', '017700000001'],
  ['hex', '0x7f000001'],
  ['hex, in parts', '0x7f.0x0.0x0.0x1'],
  ['short', '127.1'],
  ['short, three parts', '10.0.1'],
  ['trailing dot', '127.0.0.1.'],
  ['full-width digits', '１２７.０.０.１'],
  ['percent-encoded', '%31%32%37.0.0.1'],
  ['this network', '0.0.0.0'],
  ['zero', '0'],
  ['private 10/8', '10.1.2.3'],
  ['private 172.16/12', '172.31.255.255'],
  ['private 192.168/16', '192.168.0.1'],
  ['link-local, cloud metadata', '169.254.169.254'],
  ['carrier-grade NAT', '100.64.0.1'],
  ['documentation', '192.0.2.1'],
  ['benchmarking', '198.18.0.1'],
  ['multicast', '224.0.0.1'],
  ['reserved', '240.0.0.1'],
  ['broadcast', '255.255.255.255'],
  ['IPv6 loopback', '[::1]'],
  ['IPv6 unspecified', '[::]'],
  ['IPv6 loopback, long', '[0:0:0:0:0:0:0:1]'],
  ['IPv4-mapped', '[::ffff:127.0.0.1]'],
  ['IPv4-mapped, hex', '[::ffff:7f00:1]'],
  ['IPv4-mapped metadata', '[::ffff:a9fe:a9fe]'],
  ['IPv4-compatible', '[::127.0.0.1]'],
  ['IPv4-compatible, hex', '[::7f00:1]'],
  ['IPv4-translated', '[::ffff:0:127.0.0.1]'],
  ['NAT64', '[64:ff9b::7f00:1]'],
  ['local NAT64', '[64:ff9b:1::7f00:1]'],
  ['6to4', '[2002:7f00:1::]'],
  ['Teredo', '[2001::1]'],
  ['unique local', '[fd00::1]'],
  ['link-local', '[fe80::1]'],
  ['site-local', '[fec0::1]'],
  ['IPv6 multicast', '[ff02::1]'],
  ['IPv6 documentation', '[2001:db8::1]'],
  ['IPv6 discard', '[100::1]'],
  ['IPv6 unassigned', '[4000::1]'],
  ['localhost', 'localhost'],
  ['localhost in capitals', 'LOCALHOST'],
  ['localhost with a trailing dot', 'localhost.'],
  ['a subdomain of localhost', 'db.localhost'],
  ['a subdomain of localhost with a trailing dot', 'db.localhost.'],
]

describe('the address rule', () => {
  test.each(NOT_PUBLIC_HOSTS)('refuses %s: %s', (_name, host) => {
    const url = `http://${host}:8080/a.mp4`
    expect(checkUrlForm(url)).toBeUndefined()
    expect(checkUrl(url, STRICT)).toMatch(/^must (not point to this machine|point to a public address)$/)
    expect(checkUrl(url, { allowPrivate: true })).toBeUndefined()
  })

  test.each([
    'http://example.com/face.mp4',
    'HTTPS://Example.COM/face.mp4?signature=abc#t=1',
    'http://1.1.1.1/',
    'http://[2606:4700:4700::1111]/',
    'http://[::ffff:1.1.1.1]/',
    'http://localhost.example.com/',
    'http://notlocalhost/',
    'https://bücher.example/',
  ])('accepts %s', (url) => {
    expect(checkUrl(url, STRICT)).toBeUndefined()
  })

  test('leaves a malformed URL to the form rule', () => {
    expect(checkUrlHost('not a url', STRICT)).toBeUndefined()
  })
})

describe('the form rule', () => {
  const FORM = 'must be an absolute http or https URL'

  test.each([
    ['ftp://example.com/a', FORM],
    ['file:///etc/passwd', FORM],
    ['data:video/mp4;base64,AAAA', FORM],
    ['/face.mp4', FORM],
    ['//example.com/face.mp4', FORM],
    ['http:example.com', FORM],
    ['http://', FORM],
    ['http://exa mple.com/', 'must not contain spaces, control characters or backslashes'],
    ['http://[fe80::1%25eth0]/', FORM],
    ['http://[fe80::1%eth0]/', FORM],
    ['http://256.1.1.1/', FORM],
    ['http://user@example.com/', 'must not contain credentials'],
    ['http://:secret@example.com/', 'must not contain credentials'],
    [`http://example.com/${'a'.repeat(URL_MAX_LENGTH)}`, 'must be at most 2048 characters'],
  ])('refuses %s', (url, error) => {
    expect(checkUrlForm(url)).toBe(error)
    expect(checkUrl(url, { allowPrivate: true })).toBe(error)
  })

  test('accepts a URL of exactly the maximum length', () => {
    expect(checkUrlForm('http://example.com/'.padEnd(URL_MAX_LENGTH, 'a'))).toBeUndefined()
  })
})

describe('the allowlist', () => {
  const allowlist = ['media.example.com', '*.cdn.example', 'Bücher.example.']
  const refusal = 'must be on one of the allowed hosts'

  test.each(['media.example.com', 'MEDIA.example.com.', 'a.cdn.example', 'a.b.cdn.example', 'xn--bcher-kva.example'])(
    'accepts %s',
    (host) => {
      expect(checkUrl(`https://${host}/a`, { allowPrivate: false, allowlist })).toBeUndefined()
    },
  )

  test.each(['example.com', 'cdn.example', 'evilcdn.example', 'media.example.com.evil.test', 'x.media.example.com'])(
    'refuses %s',
    (host) => {
      expect(checkUrl(`https://${host}/a`, { allowPrivate: false, allowlist })).toBe(refusal)
    },
  )

  test('does not lift the address rule', () => {
    expect(checkUrl('http://127.0.0.1/', { allowPrivate: false, allowlist: ['127.0.0.1'] })).toMatch(/public address/)
  })

  test('allows nothing if it is empty or has an invalid pattern', () => {
    expect(checkUrl('http://example.com/', { allowPrivate: false, allowlist: [] })).toBe(refusal)
    expect(checkUrl('http://example.com/', { allowPrivate: false, allowlist: ['', '*.', '%'] })).toBe(refusal)
  })
})

test('an address with a zone, and a text that is no address, are not public', () => {
  expect(isPublicAddress('fe80::1%eth0')).toBe(false)
  expect(isPublicAddress('example.com')).toBe(false)
})
