// What a pick costs inside of a stock policy's component: its own code as another engine (V8) runs it,
// with a host that answers from tables. The host's part of `host/benches/policy_call.rs` is not in it,
// so two versions of a policy can be compared without building the proxy twice.
//
//     node tests/benches/component/measure.mjs SERVERS MODULE...
//
// A module is what building the proxy leaves in
// `target/plugins/wasm32-unknown-unknown/plugin/NAME.wasm`, of policies that only look at their fleet.
// Weights 1 to 3, 0 to 6 requests in flight, every server a candidate. Prints nanoseconds of a pick in
// the fastest of 200 rounds of 500, questions to the host in a pick, and a sum over all that was
// chosen: versions that choose alike have the same.

import fs from 'node:fs';

const ROUNDS = 200;
const PICKS = 500;

function measure(servers, file) {
  const module = new WebAssembly.Module(fs.readFileSync(file));
  const count = Math.ceil(servers / 64);
  const last = servers % 64 ? (1n << BigInt(servers % 64)) - 1n : (1n << 64n) - 1n;
  const words = new BigUint64Array(count).fill((1n << 64n) - 1n);
  words[count - 1] = last;
  const loads = Uint32Array.from({ length: servers }, (_, index) => index % 7);
  let plugin;
  let questions = 0;
  const list = (Kind, values, answer) => {
    const at = plugin.cabi_realloc(0, 0, Kind.BYTES_PER_ELEMENT, values.byteLength);
    new Kind(plugin.memory.buffer, at, values.length).set(values);
    const view = new DataView(plugin.memory.buffer);
    view.setUint32(answer, at, true);
    view.setUint32(answer + 4, values.length, true);
  };
  const host = {
    candidates: (word) => BigInt.asIntN(64, words[word] ?? 0n),
    'all-candidates': (answer) => list(BigUint64Array, words, answer),
    'in-flight': (index) => loads[index] ?? 0,
    'all-in-flight': (answer) => list(Uint32Array, loads, answer),
    'max-fails': () => 1,
  };
  const imports = {};
  for (const { module: from, name } of WebAssembly.Module.imports(module)) {
    const answer = host[name] ?? (() => { throw new Error(`${name} has no answer here`); });
    imports[from] ??= {};
    imports[from][name] = (...given) => {
      questions += 1;
      return answer(...given);
    };
  }
  plugin = new WebAssembly.Instance(module, imports).exports;
  const exported = (part, call) => {
    const names = Object.keys(plugin);
    const is = (name) => name.startsWith(`waypost:plugin/${part}@`) && name.endsWith(`#${call}`);
    return plugin[names.find(is)];
  };
  const text = (value) => {
    const bytes = Buffer.from(value);
    const at = plugin.cabi_realloc(0, 0, 1, bytes.length);
    new Uint8Array(plugin.memory.buffer, at, bytes.length).set(bytes);
    return [at, bytes.length];
  };
  exported('plugin', 'configure')(0, ...text('{}'));
  const size = 24; // of an endpoint: id, address, weight
  const endpoints = plugin.cabi_realloc(0, 0, 8, size * servers);
  for (let index = 0; index < servers; index += 1) {
    const [address, length] = text(`10.0.${index >> 8}.${index & 255}:80`);
    const view = new DataView(plugin.memory.buffer, endpoints + size * index, size);
    view.setBigUint64(0, BigInt(index), true);
    view.setUint32(8, address, true);
    view.setUint32(12, length, true);
    view.setUint32(16, 1 + (index % 3), true);
  }
  exported('members', 'update')(1n, endpoints, servers);
  const pick = exported('balancer', 'pick');
  const first = BigInt.asIntN(64, words[0]);
  questions = 0;
  let sum = 0;
  let best = Infinity;
  for (let round = 0; round < ROUNDS; round += 1) {
    const begun = process.hrtime.bigint();
    for (let number = 0; number < PICKS; number += 1) {
      sum = (sum * 31 + pick(1n, 0, 0n, 5n, first)) >>> 0;
    }
    best = Math.min(best, Number(process.hrtime.bigint() - begun) / PICKS);
  }
  const each = questions / (ROUNDS * PICKS);
  console.log(`${file}: ${servers} servers, ${best.toFixed(0)} ns, ${each} questions, chosen ${sum}`);
}

const [servers, ...files] = process.argv.slice(2);
files.forEach((file) => measure(Number(servers), file));
