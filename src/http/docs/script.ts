import { gzipSync } from 'node:zlib'
import scalar from '@scalar/fastify-api-reference'
import Fastify from 'fastify'

// A process of its own, which writes Scalar's script to stdout, compressed: the package is one module that holds the
// script as 5 MB of text, and a server that has once loaded it keeps some 35 MB for good.
const shelf = Fastify()
await shelf.register(scalar, { configuration: { url: 'unused' } })
const { rawPayload } = await shelf.inject('/reference/js/scalar.js')
process.stdout.write(gzipSync(rawPayload))
