#!/usr/bin/env node
// `waypost-build plugin.js [-o plugin.wasm]`: makes a component of a plugin.
//
// Reads from the plugin what it exports (`policy`, `filter`, `scorer`, `hook`, and the methods of
// these classes) and which `grants` it needs, writes the world of just that, and has ComponentizeJS
// put an engine around the code. TypeScript is taken as it is.

import { cp, mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

import { build } from 'esbuild';

import { GRANTS } from './index.js';

const VERSION = '0.2.0';
const here = fileURLToPath(new URL('.', import.meta.url));

/** What a class of a kind must have, and which exports stand for its further methods. */
const KINDS = {
  policy: ['pick', 'members', 'balancer'],
  filter: ['narrow', 'members', 'filter'],
  scorer: ['score', 'members', 'scorer'],
  hook: [null, 'hook'],
};
const METHODS = {
  change: 'member-changes',
  failed: 'failures',
  done: 'observer',
  onRequest: 'on-request',
  onCheck: 'on-check',
  onResponse: 'on-response',
  onRequestBody: 'on-request-body',
  onResponseBody: 'on-response-body',
  onEnd: 'on-end',
  exportState: 'keeper',
  tick: 'ticker',
  changed: 'file-changes',
};

/** The interfaces that a plugin exports and imports. */
function interfaces(plugin) {
  const exported = new Set(['plugin', 'description']);
  for (const [kind, [needed, ...own]] of Object.entries(KINDS)) {
    const of = plugin[kind];
    if (!of) continue;
    if (needed && !(needed in of.prototype))
      throw new Error(`the ${kind} \`${of.name}\` has no method \`${needed}\``);
    own.forEach((name) => exported.add(name));
    for (const [method, name] of Object.entries(METHODS))
      if (method in of.prototype) exported.add(name);
  }
  if (exported.size === 2)
    throw new Error(`the plugin exports none of \`${Object.keys(KINDS).join('`, `')}\``);
  const imported = [...GRANTS.free];
  for (const grant of plugin.grants ?? []) {
    if (!GRANTS[grant])
      throw new Error(
        `\`${grant}\` is no grant: there are \`${Object.keys(GRANTS).slice(1).join('`, `')}\``,
      );
    imported.push(...GRANTS[grant]);
  }
  return { exported: [...exported], imported };
}

const camel = (name) => name.replace(/-(.)/g, (_, letter) => letter.toUpperCase());
const kebab = (name) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { output: { type: 'string', short: 'o', default: 'plugin.wasm' } },
  });
  const source = resolve(positionals[0] ?? 'plugin.js');
  const output = resolve(values.output);
  const folder = await mkdtemp(join(tmpdir(), 'waypost-'));
  const bundle = (options) =>
    build({
      bundle: true,
      format: 'esm',
      platform: 'neutral',
      mainFields: ['module', 'main'],
      logLevel: 'error',
      external: ['waypost:*'],
      alias: { waypost: join(here, 'index.js'), 'waypost/guest': join(here, 'guest.js') },
      ...options,
    });
  try {
    await bundle({ entryPoints: [source], outfile: join(folder, 'look.mjs') });
    const plugin = await import(pathToFileURL(join(folder, 'look.mjs')));
    const { exported, imported } = interfaces(plugin);
    const item = (name) => `waypost:plugin/${name}@${VERSION}`;
    await mkdir(join(folder, 'wit', 'deps'), { recursive: true });
    await cp(join(here, 'wit'), join(folder, 'wit', 'deps', 'plugin'), {
      recursive: true,
      dereference: true,
    });
    const items = [
      ...imported.map((name) => `import ${item(kebab(name))};`),
      ...exported.map((name) => `export ${item(name)};`),
    ];
    await writeFile(
      join(folder, 'wit', 'world.wit'),
      `package my:plugin;\nworld this {\n${items.join('\n')}\n}\n`,
    );
    const entry = [
      `import * as plugin from ${JSON.stringify(source)};`,
      "import { serve } from 'waypost/guest';",
      ...imported.map((name) => `import * as ${name} from '${item(kebab(name))}';`),
      `const made = serve(plugin, { ${imported.join(', ')} });`,
      ...exported.map((name) => `const e_${camel(name)} = made.${camel(name)};`),
      `export { ${exported.map((name) => `e_${camel(name)} as ${camel(name)}`).join(', ')} };`,
    ];
    await bundle({
      stdin: { contents: entry.join('\n'), resolveDir: here, sourcefile: 'entry.js' },
      outfile: join(folder, 'plugin.js'),
    });
    // Looks for its source below the current directory only.
    process.chdir(folder);
    const { componentize } = await import('@bytecodealliance/componentize-js');
    const { component } = await componentize({
      sourcePath: 'plugin.js',
      witPath: join(folder, 'wit'),
      worldName: 'this',
      // `fetch` is there for hooks that wait: all others are smaller without.
      disableFeatures: [...(plugin.grants?.includes('http') ? [] : ['http']), 'fetch-event'],
    });
    await writeFile(output, component);
    console.log(
      `${output}: ${component.length} bytes, grants = ${JSON.stringify(plugin.grants ?? [])}`,
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

main().catch((error) => {
  console.error(`waypost-build: ${error.message}`);
  process.exitCode = 1;
});
