// What both doubles of the host are made of: a request, the store, and what a plugin may ask for
// wherever it is used. `testing.js` has the doubles themselves.

import { bytes } from './guest.js';
import { GRANTS, host, provide, StoreError } from './index.js';

/** A request as a test gives it: `{ method, path, query, headers: {...}, cookies: {...} }`. */
export function requestOf({
  method = 'GET',
  path = '/',
  query = '',
  authority = 'test',
  headers = {},
  cookies = {},
} = {}) {
  const lower = Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
  );
  const all = (name) => [lower[name.toLowerCase()] ?? []].flat();
  return {
    method: () => method,
    scheme: () => 'http',
    authority: () => authority,
    path: () => path,
    query: () => query,
    decodedPath: () => decodeURIComponent(path),
    version: () => 'http11',
    header: (name) => all(name)[0],
    headerAll: all,
    headers: () =>
      Object.entries(headers).flatMap(([name, value]) => [value].flat().map((one) => [name, one])),
    cookie: (name) => cookies[name],
    hash: (of, seed = 0n) => {
      const { header, cookie } = of;
      const parts = { authority, path, query, 'client-address': '127.0.0.1' };
      const text = header ? all(header)[0] : cookie ? cookies[cookie] : parts[of];
      return fnv(text ?? '', seed);
    },
  };
}

function fnv(text, seed) {
  let hash = 0xcbf29ce484222325n ^ seed;
  for (const byte of new TextEncoder().encode(text)) {
    hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffff_ffff_ffff_ffffn;
  }
  return hash ^ (hash >> 32n);
}

/** A client that came by TCP, without TLS. */
const CONNECTION = {
  clientAddress: () => ({ tag: 'ipv4', val: [127, 0, 0, 1] }),
  peerAddress: () => ({ tag: 'ipv4', val: [127, 0, 0, 1] }),
  peerPort: () => 50000,
  localAddress: () => ({ tag: 'ipv4', val: [127, 0, 0, 1] }),
  localPort: () => 80,
  serverName: () => undefined,
  alpn: () => undefined,
  tlsVersion: () => undefined,
  certificateSubject: () => undefined,
  certificateFingerprint: () => undefined,
};

/** What plugins share, by key and without a clock: nothing expires. */
function storeOf(entries) {
  const name = (key) => (typeof key === 'string' ? key : new TextDecoder().decode(key));
  const number = (key) => {
    const value = store.get(key) ?? '0';
    if (!/^-?\d+$/.test(value)) throw new StoreError('wrong-kind');
    return BigInt(value);
  };
  const store = {
    isElsewhere: () => false,
    get: (key) => entries.get(name(key)),
    set: (key, value) => void entries.set(name(key), name(value)),
    add: (key, amount) => {
      const sum = number(key) + amount;
      store.set(key, `${sum}`);
      return sum;
    },
    compareAndSwap: (key, expected, value) => {
      const isAsExpected = store.get(key) === (expected && name(expected));
      if (isAsExpected) store.set(key, value);
      return isAsExpected;
    },
    delete: (key) => entries.delete(name(key)),
    fill: (key, amount, leak, capacity) => {
      const level = store.get(key) === undefined ? 0n : number(key) + amount;
      if (level <= capacity) store.set(key, `${level}`);
      return level;
    },
  };
  return store;
}

/** What every double has: an instance, its counters, its log and its part of the store. */
export class Double {
  counters = {};
  log = [];
  notes = [];
  store = new Map();
  files;
  #grants;

  constructor(grants, files = {}) {
    this.#grants = grants;
    this.files = { ...files };
    this.nowUs = 0n;
  }

  /** Puts something else into a file, and tells the plugin, as the host does; `undefined`: gone. */
  changeFile(path, content) {
    if (content === undefined) delete this.files[path];
    else this.files[path] = content;
    this.instance.changed(path, bytes(content));
  }

  /** The interfaces that are granted, with these functions; all others are not there. */
  enter(functions) {
    const names = Object.keys(this.counters);
    const all = {
      clock: { wallMs: () => BigInt(Date.now()) },
      metrics: {
        counter: (name) => {
          if (!names.includes(name)) names.push(name);
          this.counters[name] ??= 0;
          return names.indexOf(name);
        },
        add: (counter, value) => {
          this.counters[names[counter]] += Number(value);
        },
      },
      store: storeOf(this.store),
      files: {
        read: (path) => bytes(this.files[path]),
        isThere: (path) => path in this.files,
      },
      connection: CONNECTION,
      variables: { variable: () => undefined },
      log: {
        write: (level, message) => this.log.push(`${level}: ${message}`),
        writeExchange: (level, message) => this.log.push(`${level}: ${message}`),
      },
      upstream: { name: () => 'test', hasBackups: () => false, carriesStreams: () => false },
      nginx: {
        checkVariable: () => undefined,
        checkEarlyVariable: () => undefined,
        maxFails: () => 1,
        failTimeout: () => 10n,
        route: () => '',
      },
      ...functions,
    };
    for (const name of Object.keys(host)) provide(name, {});
    for (const grant of ['free', ...this.#grants]) {
      for (const name of GRANTS[grant]) provide(name, all[name] ?? {});
    }
  }
}
