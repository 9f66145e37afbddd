// Packs the package, installs the file elsewhere and imports it from there.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const folder = mkdtempSync(join(tmpdir(), 'tasker-pack-'));
try {
  const run = (command, args, cwd) => execFileSync(command, args, { cwd, encoding: 'utf8' });
  const [packed] = JSON.parse(run('npm', ['pack', '--json', '--pack-destination', folder]));
  const names = packed.files.map((file) => file.path);
  const surplus = names.filter((name) => !/^(dist\/[\w.]+\.(js|d\.ts)|package\.json|README\.md|LICENSE)$/.test(name));
  if (surplus.length > 0) throw new Error(`the package has files that it should not have: ${surplus}`);
  run('npm', ['install', '--offline', '--silent', '--prefix', folder, join(folder, packed.filename)]);
  const code = "import { Worker } from 'tasker'; import { runStep } from 'tasker/testing'; console.log(typeof Worker, typeof runStep)";
  const printed = run('node', ['--input-type=module', '--eval', code], folder).trim();
  if (printed !== 'function function') throw new Error(`the installed package exports ${printed}`);
  console.log(`${packed.filename}: ${names.length} files, ${packed.size} bytes`);
} finally {
  rmSync(folder, { recursive: true });
}
