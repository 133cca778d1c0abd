// Validates glTF files with the Khronos validator and prints one JSON report a file.
// node scripts/validate_glb.mjs FILE... ; exit code 1 when any file has errors.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = process.env.GLTF_VALIDATOR_ROOT ?? join(dirname(fileURLToPath(import.meta.url)), '..');
const validator = createRequire(join(root, 'package.json'))('gltf-validator');

let failed = false;
for (const file of process.argv.slice(2)) {
  const report = await validator.validateBytes(new Uint8Array(readFileSync(file)), { uri: file, maxIssues: 20 });
  console.log(JSON.stringify(report.issues));
  failed ||= report.issues.numErrors > 0;
}
process.exit(failed ? 1 : 0);
