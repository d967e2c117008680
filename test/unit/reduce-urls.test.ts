import { expect, test } from 'vitest'
import { reduceUrls } from '../../src/net/url-rule.ts'

test.each([
  ['403 for url: https://a.example/secret.mp4?sig=secret (try 2)', '403 for url: https://a.example/… (try 2)'],
  ["HTTPError('https://a.example:8443/x?y')", "HTTPError('https://a.example:8443/…')"],
  ["HTTPError('https://a.example/it's?sig='secret')", "HTTPError('https://a.example/…')"],
  ["exceeded with url: /it's?sig=secret (x)", 'exceeded with url: /… (x)'],
  ['http://user:secret@a.example/', 'http://a.example/…'],
  ['HTTPS://A.EXAMPLE', 'HTTPS://A.EXAMPLE/…'],
  ['s3://bucket/secret/key', 's3://bucket/…'],
  ['two: https://a.example/1 and https://b.example/2', 'two: https://a.example/… and https://b.example/…'],
  [
    "HTTPSConnectionPool(host='a.example', port=443): Max retries exceeded with url: /secret?sig=secret (Caused by x)",
    "HTTPSConnectionPool(host='a.example', port=443): Max retries exceeded with url: /… (Caused by x)",
  ],
  ['https://a.example/\\nnext', 'https://a.example/…\\nnext'],
  ['no URL: a/b.mp4, 12:30', 'no URL: a/b.mp4, 12:30'],
])('%s is reduced to %s, idempotently', (text, reduced) => {
  expect(reduceUrls(text)).toBe(reduced)
  expect(reduceUrls(reduced)).toBe(reduced)
})

test('a long URL is reduced in linear time', () => {
  const text = `${'https://a'.repeat(50_000)} ${'a'.repeat(500_000)}`
  expect(reduceUrls(text).length).toBeLessThan(text.length)
})
