// Verifies a Sigstore bundle with npm's @sigstore/verify: node check.mjs NODE_MODULES BUNDLE KEYS TRUSTED_ROOT.
// KEYS: JSON of {hint: base64 of the DER key}. Prints the verified payload, or exits with 1 and the reason.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [modules, bundleFile, keysFile, rootFile] = process.argv.slice(2);
const require = createRequire(join(modules, "index.js"));
const { bundleFromJSON } = require("@sigstore/bundle");
const { TrustedRoot } = require("@sigstore/protobuf-specs");
const { Verifier, toSignedEntity, toTrustMaterial } = require("@sigstore/verify");

const json = (file) => JSON.parse(readFileSync(file, "utf8"));
try {
  const root = TrustedRoot.fromJSON(json(rootFile));
  const keys = Object.fromEntries(
    Object.entries(json(keysFile)).map(([hint, rawBytes]) => [hint, { rawBytes: Buffer.from(rawBytes, "base64") }]),
  );
  const bundle = bundleFromJSON(json(bundleFile));
  const verifier = new Verifier(toTrustMaterial(root, keys), {
    tlogThreshold: 0,
    timestampThreshold: root.timestampAuthorities.length,
  });
  verifier.verify(toSignedEntity(bundle));
  process.stdout.write(bundle.content.dsseEnvelope.payload);
} catch (error) {
  console.error(`${error.code ?? error.name}: ${error.message}`);
  process.exit(1);
}
