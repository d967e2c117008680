import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createPutter, PutError, type PutterOptions } from '../../src/net/put.ts'
import { createResolver } from '../../src/net/resolver.ts'
import { startDns } from '../helpers/dns.ts'
import { startPutStore } from '../helpers/put-store.ts'

const OPEN = { allowPrivate: true }
const PIECE = Buffer.alloc(64 * 1024, 'video')

async function* pieces(count: number) {
  for (let n = 0; n < count; n++) yield PIECE
}

type Sent = { url: string; size?: number; bytes?: AsyncIterable<Uint8Array>; signal?: AbortSignal }

const send = (sent: Sent, options: Partial<PutterOptions> = {}) =>
  createPutter({ rule: OPEN, ...options })(sent.url, {
    type: 'video/mp4',
    size: 10 * PIECE.length,
    bytes: pieces(10),
    signal: new AbortController().signal,
    caller: 'key:a',
    ...sent,
  })

const failure = (sending: Promise<unknown>) =>
  sending.then(
    () => 'it worked',
    (error: unknown) => (error instanceof PutError ? error.message : `not a PutError: ${String(error)}`),
  )

describe('a PUT', () => {
  test('brings all bytes with their type and length, without chunks', async () => {
    const store = await startPutStore()
    expect(await send({ url: store.url })).toMatchObject({ status: 200 })
    const [{ headers, body, path } = { body: undefined }] = store.stored
    expect(body?.equals(Buffer.concat(Array<Buffer>(10).fill(PIECE)))).toBe(true)
    expect(path).toBe('/bucket/video.mp4?X-Amz-Signature=secret')
    expect(headers).toMatchObject({ 'content-type': 'video/mp4', 'content-length': '655360' })
    expect(headers).not.toHaveProperty('transfer-encoding')
  })

  test('that is refused is not sent: the answer comes before the bytes are read', async () => {
    const store = await startPutStore()
    store.receiveWith = (_request, response) => response.writeHead(403, { 'content-type': 'application/xml' }).end()
    let read = 0
    async function* counted() {
      for await (const piece of pieces(10)) {
        read += piece.length
        yield piece
      }
    }
    expect(await send({ url: store.url, bytes: counted() })).toMatchObject({ status: 403, type: 'application/xml' })
    expect(read).toBe(0)
  })

  test('that is answered while its bytes are sent ends with that answer', async () => {
    const store = await startPutStore()
    store.receiveWith = (request, response) => {
      response.writeContinue()
      request.once('data', () => {
        request.pause()
        response.writeHead(507).end()
      })
    }
    const size = 1_000 * PIECE.length
    expect(await send({ url: store.url, size, bytes: pieces(1_000) })).toMatchObject({ status: 507 })
  })

  test.each(['at once', 'after the first bytes'])('that is accepted %s, before its end, is an error', async (when) => {
    const store = await startPutStore()
    store.receiveWith = (request, response) => {
      const accept = () => response.writeHead(200).end()
      if (when === 'at once') {
        accept()
        return
      }
      response.writeContinue()
      request.once('data', () => {
        request.pause()
        accept()
      })
    }
    const size = 1_000 * PIECE.length
    const sent = send({ url: store.url, size, bytes: pieces(1_000) })
    expect(await failure(sent)).toBe('it answered 200 before it had all bytes')
  })

  test('to a receiver that does not know Expect is sent all the same', async () => {
    const store = await startPutStore()
    store.receiveWith = (request, response) => {
      let bytes = 0
      request.on('data', (chunk: Buffer) => (bytes += chunk.length))
      request.on('end', () => response.writeHead(bytes === 10 * PIECE.length ? 201 : 400).end())
    }
    expect(await send({ url: store.url })).toMatchObject({ status: 201 })
  })

  test('that is redirected is not followed', async () => {
    const [store, other] = [await startPutStore(), await startPutStore()]
    store.receiveWith = (_request, response) => response.writeHead(307, { location: other.url }).end()
    expect(await send({ url: store.url })).toMatchObject({ status: 307 })
    expect(other.stored).toEqual([])
  })

  test.each([9, 11])('of 10 pieces that are %i in fact fails, and leaves nothing there', async (count) => {
    const store = await startPutStore()
    expect(await failure(send({ url: store.url, bytes: pieces(count) }))).toBe(
      'the output does not have as many bytes as it says',
    )
    expect(store.stored).toEqual([])
  })

  test('whose source fails rejects with the error of the source', async () => {
    const store = await startPutStore()
    async function* broken() {
      yield PIECE
      throw new Error('the source is gone')
    }
    await expect(send({ url: store.url, bytes: broken() })).rejects.toThrow('the source is gone')
    expect(store.stored).toEqual([])
  })

  test('to a receiver that stops reading fails when too little has arrived', async () => {
    const store = await startPutStore()
    store.receiveWith = (request, response) => {
      response.writeContinue()
      request.once('data', () => request.pause())
    }
    const size = 1_000 * PIECE.length
    const sending = send({ url: store.url, size, bytes: pieces(1_000) }, { stallMs: 300 })
    expect(await failure(sending)).toBe('less than 16 KiB a second arrived')
  })

  test('to a receiver that takes everything and does not answer fails', async () => {
    const store = await startPutStore()
    store.answerWith = () => undefined
    expect(await failure(send({ url: store.url }, { stallMs: 300 }))).toBe('there was no answer within 0.3 s')
  })

  test('to a receiver that resets the connection fails', async () => {
    const server = createServer((socket) =>
      socket.on('error', () => undefined).once('data', () => socket.resetAndDestroy()),
    )
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void server.close())
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/a`
    expect(await failure(send({ url }))).toBe('the connection was lost')
    expect(await failure(send({ url: 'http://127.0.0.1:1/' }))).toBe('the connection was refused')
  })

  test('ends with the reason of its signal', async () => {
    const store = await startPutStore()
    const aborted = new AbortController()
    store.receiveWith = (_request, response) => {
      response.writeContinue()
      aborted.abort(new Error('the server is shutting down'))
    }
    await expect(send({ url: store.url, signal: aborted.signal })).rejects.toThrow('the server is shutting down')
  })
})

describe('a private address is refused', () => {
  test('by the URL alone', async () => {
    const store = await startPutStore()
    const sending = send({ url: store.url }, { rule: { allowPrivate: false } })
    expect(await failure(sending)).toBe('the URL must point to a public address')
    expect(store.stored).toEqual([])
  })

  test('when a public name turns out to lead to it, with the same text as an unknown name', async () => {
    const store = await startPutStore()
    const dns = await startDns()
    dns.addresses.set('rebind.example', '127.0.0.1')
    const resolve = createResolver({ servers: [dns.server] })
    const options = { rule: { allowPrivate: false }, resolve }
    for (const host of ['rebind.example', 'unknown.example']) {
      const url = `http://${host}:${store.port}/a`
      expect(await failure(send({ url }, options))).toBe('its host is unknown or not public')
    }
    expect(store.stored).toEqual([])
  })
})
