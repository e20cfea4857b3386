// A double of the host: runs a policy or a hook in the test runner of one's choice, without
// Waypost.
//
// It answers what a test has said, and keeps what a plugin has changed. Hashes are not those of the
// host (XXH64), but as good for telling values apart.

import { indexes } from './guest.js';
import { GRANTS, host, provide, REFUSE } from './index.js';
import { describe, read } from './settings.js';

/** A request as a test gives it: `{ method, path, query, headers: {...}, cookies: {...} }`. */
function requestOf({
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

/** What plugins share, by key and without a clock: nothing expires. */
function storeOf(entries) {
  const name = (key) => (typeof key === 'string' ? key : new TextDecoder().decode(key));
  const store = {
    isElsewhere: () => false,
    get: (key) => entries.get(name(key)),
    set: (key, value) => void entries.set(name(key), name(value)),
    add: (key, amount) => {
      const sum = BigInt(store.get(key) ?? 0) + amount;
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
      const before = store.get(key);
      const level = before === undefined ? 0n : BigInt(before) + amount;
      if (level <= capacity) store.set(key, `${level}`);
      return level;
    },
  };
  return store;
}

/** What every double has: an instance, its counters, its log and its part of the store. */
class Double {
  counters = {};
  log = [];
  notes = [];
  store = new Map();
  #grants;

  constructor(grants) {
    this.#grants = grants;
    this.nowUs = 0n;
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

/** An upstream with a policy: `new Upstream(Policy, { settings, servers: 3, grants })`. */
export class Upstream extends Double {
  constructor(policy, { settings = {}, servers = 1, grants = Object.keys(GRANTS).slice(1) } = {}) {
    super(grants);
    const named =
      typeof servers === 'number'
        ? Array.from({ length: servers }, (_, at) => ({ name: `s${at}` }))
        : servers;
    this.servers = named.map((server) => ({
      weight: 1,
      labels: {},
      inFlight: 0,
      isDown: false,
      latencyUs: 0,
      health: 100,
      ...server,
    }));
    this.#enter();
    this.policy = new policy(read(policy.settings, JSON.stringify(settings)));
    this.policy.update?.(
      this.servers.map(({ weight, name }, index) => ({
        index,
        id: BigInt(index),
        address: `${name}:80`,
        weight,
      })),
    );
  }

  /** The index that is picked for a request; `undefined`: the fallback chooses. */
  pick(request = {}, { attempt = 0, tried = [], random = 0n } = {}) {
    this.#enter(request);
    const candidates = this.#candidates().filter((index) => !tried.includes(index));
    const picked = this.policy.pick({ lease: 0n, attempt, nowUs: this.nowUs, random, candidates });
    if (picked !== undefined && picked !== REFUSE && !candidates.includes(picked)) {
      throw new Error(`picked ${picked}, which is no candidate`);
    }
    return picked;
  }

  /** The indexes that a filter leaves for a request: `new Upstream(Filter, ...)`. */
  narrow(request = {}, { attempt = 0, random = 0n } = {}) {
    this.#enter(request);
    const words = Array.from({ length: Math.ceil(this.servers.length / 64) }, () => 0n);
    for (const index of this.#candidates())
      words[Math.floor(index / 64)] |= 1n << BigInt(index % 64);
    const { nowUs } = this;
    return indexes(
      words.map(
        (candidates, word) =>
          candidates & this.policy.narrow({ word, candidates, attempt, nowUs, random }),
      ),
    );
  }

  /** How a scorer ranks the servers for a request: `new Upstream(Scorer, ...)`. */
  score(request = {}, { attempt = 0, random = 0n } = {}) {
    this.#enter(request);
    return [...this.policy.score({ attempt, nowUs: this.nowUs, random })];
  }

  #candidates() {
    return this.servers.flatMap(({ isDown }, index) => (isDown ? [] : [index]));
  }

  #enter(request) {
    const of = (key, none) => (index) => this.servers[index]?.[key] ?? none;
    const all = (key) => () => Uint32Array.from(this.servers, (server) => server[key]);
    this.responseHeaders = {};
    this.enter({
      request: requestOf(request),
      connection: {},
      fleet: {
        name: of('name', ''),
        isDown: of('isDown', false),
        inFlight: of('inFlight', 0),
        allInFlight: all('inFlight'),
        latencyUs: of('latencyUs', 0),
        allLatencyUs: all('latencyUs'),
        health: of('health', 0),
        allHealth: all('health'),
        label: (index, name) => this.servers[index]?.labels[name],
      },
      attempt: {
        memo: () => 0n,
        setMemo() {},
        setRefusalStatus() {},
        failure: () => 'none',
        addResponseHeader: (name, value) => {
          this.responseHeaders[name.toLowerCase()] = value;
        },
      },
      exchange: {
        attribute: () => undefined,
        key: () => '',
        note: (text) => this.notes.push(text),
        isNoteWanted: () => true,
      },
    });
  }
}

/** A hook in use: `new Hooked(Hook, { settings, places: [{}], grants })`. */
export class Hooked extends Double {
  constructor(hook, { settings = {}, places = [{}], grants = Object.keys(GRANTS).slice(1) } = {}) {
    super(grants);
    this.#enter({});
    this.hook = new hook(read(hook.settings, JSON.stringify(settings)));
    places.forEach((place, at) =>
      this.hook.attach?.(at, read(hook.placeSettings, JSON.stringify(place))),
    );
  }

  /** What becomes of a request: verdict and changes, names of headers in lower case. */
  request(request = {}, { place = 0, attributes = {} } = {}) {
    const exchange = { requestHeaders: {}, responseHeaders: {}, attributes: { ...attributes } };
    this.#enter(request, exchange);
    const verdict = this.hook.onRequest?.({ exchange: 1n, place, nowUs: this.nowUs, random: 0n });
    const told = (verdict) => Object.assign(exchange, { verdict: verdict ?? 'proceed' });
    return verdict instanceof Promise ? verdict.then(told) : told(verdict);
  }

  /** Goes on with an exchange: its answer, of this status, is about to be sent. */
  response(exchange, { place = 0, status = 200, headers = {} } = {}) {
    this.#enter({}, exchange, { status, headers });
    this.hook.onResponse({ exchange: 1n, place, nowUs: this.nowUs });
    return exchange;
  }

  #enter(
    request,
    exchange = { requestHeaders: {}, responseHeaders: {}, attributes: {} },
    response = { status: 0, headers: {} },
  ) {
    const { attributes } = exchange;
    const set = (headers) => (name, value) => {
      exchange[headers][name.toLowerCase()] = value;
      return true;
    };
    const remove = (headers) => (name) => {
      exchange[headers][name.toLowerCase()] = null;
      return true;
    };
    const keep = (key) => (value) => {
      exchange[key] = value;
      return true;
    };
    const answered = requestOf({ headers: response.headers });
    this.enter({
      request: requestOf(request),
      connection: {},
      response: {
        status: () => response.status,
        header: answered.header,
        headerAll: answered.headerAll,
        isLocal: () => false,
      },
      exchange: {
        attribute: (name) => attributes[name],
        key: () => '',
        note: (text) => this.notes.push(text),
        isNoteWanted: () => true,
      },
      changes: {
        setMethod: keep('method'),
        setPath: keep('path'),
        setQuery: keep('query'),
        delay: keep('delayUs'),
        takeRoute: keep('route'),
        takeUpstream: keep('upstream'),
        checkRoute: () => undefined,
        checkUpstream: () => undefined,
        setRequestHeader: set('requestHeaders'),
        addRequestHeader: set('requestHeaders'),
        removeRequestHeader: remove('requestHeaders'),
        setResponseHeader: set('responseHeaders'),
        addResponseHeader: set('responseHeaders'),
        removeResponseHeader: remove('responseHeaders'),
        setAttribute: (name, value) => {
          attributes[name] = value;
          return true;
        },
        answer: (status, body) => {
          exchange.answer = { status, body };
          return true;
        },
      },
    });
  }
}

/** The JSON schema that lists and editors are shown of a plugin's class. */
export const schemaOf = (plugin) => JSON.parse(describe(plugin.settings));
