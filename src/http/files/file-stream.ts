import type { FileHandle } from 'node:fs/promises'
import { Readable, type Writable } from 'node:stream'

/** What of a file is sent: `bytes` of it from `start` on. */
export type Slice = { readonly start: number; readonly bytes: number }

/** How much is read and written at a time, and held meanwhile, in bytes. */
export const PIECE_BYTES = 128 * 1024

/**
 * A part of a file, for `pipe` alone, which it does through one buffer that is used again once its bytes have been
 * handed to the network. Node's own streams take a new one for every piece, of which tens of MB lie about until they
 * are collected. Closes the file in the end.
 */
export class FileStream extends Readable {
  readonly #file: FileHandle
  readonly #slice: Slice

  constructor(file: FileHandle, slice: Slice) {
    super({ read: () => undefined })
    this.#file = file
    this.#slice = slice
  }

  override pipe<T extends NodeJS.WritableStream>(destination: T): T {
    this.#send(destination as unknown as Writable).then(
      () => {
        // Its end is not in what it reads, but it ends.
        this.push(null)
        this.resume()
      },
      (error: unknown) => this.destroy(error as Error),
    )
    return destination
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#file.close().then(
      () => done(error),
      () => done(error),
    )
  }

  async #send(destination: Writable) {
    const { start, bytes } = this.#slice
    const buffer = Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, bytes))
    for (let sent = 0; sent < bytes && !this.destroyed;) {
      const { bytesRead } = await this.#file.read(buffer, 0, Math.min(buffer.length, bytes - sent), start + sent)
      if (bytesRead === 0) throw new Error('the file has become shorter while it was sent')
      sent += bytesRead
      await written(destination, buffer.subarray(0, bytesRead))
    }
    if (!this.destroyed) destination.end()
  }
}

/** Resolves when the bytes are needed no more: they have gone, or nobody takes them. */
const written = (destination: Writable, bytes: Buffer) =>
  new Promise<void>((resolve, reject) => destination.write(bytes, (error) => (error ? reject(error) : resolve())))
