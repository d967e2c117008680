import fastifyStatic from '@fastify/static'
import Fastify from 'fastify'

// `node plain-server-process.ts FOLDER`: the files of a folder by @fastify/static with nothing around it, on a free
// port, which it sends to its parent. It ends with that.
const app = Fastify()
await app.register(fastifyStatic, { root: process.argv[2] ?? '' })
const url = await app.listen({ host: '127.0.0.1', port: 0 })
process.once('disconnect', () => process.exit())
process.send?.(url)
