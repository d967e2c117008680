import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A certificate for `localhost` and 127.0.0.1 that is its own authority: trust `caFile` to trust it. */
export type Certificate = { readonly caFile: string; readonly keyFile: string; remove(): void }

/**
 * Makes a certificate with the `openssl` command, in a temporary directory. grpc-js reads
 * GRPC_DEFAULT_SSL_ROOTS_FILE_PATH once, when it is imported: make the certificate and set the variable before the
 * `modal` client, or this directory's control-plane.ts, is imported in the same process.
 */
export function makeCertificate(): Certificate {
  const directory = mkdtempSync(join(tmpdir(), 'control-plane-'))
  const caFile = join(directory, 'certificate.pem')
  const keyFile = join(directory, 'key.pem')
  const names = 'subjectAltName=DNS:localhost,IP:127.0.0.1'
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  const args = ['req', ...kind, '-subj', '/CN=localhost', '-addext', names, '-keyout', keyFile, '-out', caFile]
  execFileSync('openssl', args, { stdio: 'pipe' })
  return { caFile, keyFile, remove: () => rmSync(directory, { recursive: true, force: true }) }
}
