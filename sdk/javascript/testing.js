// A double of the host: runs a policy or a hook in the test runner of one's choice, without
// Waypost.
//
// It answers what a test has said, and keeps what a plugin has changed. Hashes are not those of the
// host (XXH64), but as good for telling values apart.

import { Double, requestOf } from './double.js';
import { bytes, incoming, indexes, piece, text } from './guest.js';
import { GRANTS, REFUSE } from './index.js';
import { describe, read } from './settings.js';

const idle = (server) => ({
  weight: 1,
  labels: {},
  inFlight: 0,
  isDown: false,
  latencyUs: 0,
  health: 100,
  ...server,
});
const endpoint = ({ weight, name }, index) => ({
  index,
  id: BigInt(index),
  address: `${name}:80`,
  weight,
});

/** An upstream with a policy: `new Upstream(Policy, { settings, servers: 3, grants })`. */
export class Upstream extends Double {
  memo = 0n;
  refusalStatus;

  constructor(
    policy,
    { settings = {}, servers = 1, grants = Object.keys(GRANTS).slice(1), files = {} } = {},
  ) {
    super(grants, files);
    const named =
      typeof servers === 'number'
        ? Array.from({ length: servers }, (_, at) => ({ name: `s${at}` }))
        : servers;
    this.servers = named.map(idle);
    this.#enter();
    this.policy = new policy(read(policy.settings, JSON.stringify(settings)));
    this.instance = this.policy;
    this.policy.update?.(this.servers.map(endpoint));
  }

  /** Has the policy take other servers in place: those that stay, by name, keep their index. */
  change(servers) {
    const kept = servers.map((server) => {
      const known = this.servers.findIndex(({ name, isDown }) => name === server.name && !isDown);
      const index = known < 0 ? this.servers.push(idle(server)) - 1 : known;
      this.servers[index] = idle(server);
      return index;
    });
    this.servers.forEach((server, index) => (server.isDown ||= !kept.includes(index)));
    this.#enter();
    this.policy.change(kept.map((index) => endpoint(this.servers[index], index)));
  }

  /** Tells the policy how an attempt ended. */
  done(index, outcome = {}) {
    this.#enter();
    const none = { connectUs: 0, headerUs: 0, totalUs: 0 };
    this.policy.done({ lease: 0n, index, status: 200, ending: 'completed', ...none, ...outcome });
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
    const { nowUs } = this;
    return indexes(
      this.#words().map(
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

  #words() {
    const words = Array.from({ length: Math.ceil(this.servers.length / 64) }, () => 0n);
    for (const index of this.#candidates())
      words[Math.floor(index / 64)] |= 1n << BigInt(index % 64);
    return words;
  }

  #enter(request) {
    const of = (key, none) => (index) => this.servers[index]?.[key] ?? none;
    const all = (key) => () => Uint32Array.from(this.servers, (server) => server[key]);
    this.responseHeaders = {};
    this.enter({
      request: requestOf(request),
      response: { status: () => 0, header() {}, headerAll: () => [], isLocal: () => false },
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
        candidates: (word) => this.#words()[word] ?? 0n,
        allCandidates: () => BigUint64Array.from(this.#words()),
      },
      attempt: {
        memo: () => this.memo,
        setMemo: (value) => (this.memo = value),
        setRefusalStatus: (status) => (this.refusalStatus = status),
        failure: () => 'none',
        bytesSent: () => 0n,
        bytesReceived: () => 0n,
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

/** A hook in use: `new Hooked(Hook, { settings, places: [{}], grants, files })`. */
export class Hooked extends Double {
  /** What upstreams answer: a function of requests, `{ status, headers, body }`. */
  upstream = () => ({});
  /** What they were asked. */
  asked = [];
  #requests = new WeakMap(); // of the exchanges that a test has

  constructor(
    hook,
    { settings = {}, places = [{}], grants = Object.keys(GRANTS).slice(1), files = {} } = {},
  ) {
    super(grants, files);
    this.#enter(begun());
    this.hook = new hook(read(hook.settings, JSON.stringify(settings)));
    this.instance = this.hook;
    places.forEach((place, at) =>
      this.hook.attach?.(at, read(hook.placeSettings, JSON.stringify(place))),
    );
  }

  /** What becomes of a request: verdict and changes, names of headers in lower case. */
  request(request = {}, { place = 0, attributes = {} } = {}) {
    const exchange = begun(attributes);
    this.#requests.set(exchange, request);
    this.#enter(exchange);
    return this.#told(exchange, this.hook.onRequest?.({ ...this.#call(place), random: 0n }));
  }

  /** Goes on with an exchange: the check that `checks` was asked for is done. */
  check(exchange, passed, { place = 0 } = {}) {
    this.#enter(exchange);
    return this.#told(exchange, this.hook.onCheck({ ...this.#call(place), passed }));
  }

  /** Goes on with an exchange: its answer, of this status, is about to be sent. */
  response(exchange, { place = 0, status = 200, headers = {} } = {}) {
    this.#enter(exchange, { response: { status, headers } });
    this.hook.onResponse(this.#call(place));
    return exchange;
  }

  /** Goes on with a request: a body, or a list of pieces, comes as the hook has asked for it. What
   * it has made of it is `exchange.requestBody`.
   */
  requestBody(exchange, body, { place = 0, trailers = [] } = {}) {
    const wanted = exchange.wanted.request;
    exchange.requestBody = this.#body(exchange, body, wanted, trailers, (body, last) =>
      this.hook.onRequestBody(piece(this.#call(place), body, last)),
    );
    return exchange;
  }

  /** The same for an answer: see `exchange.responseBody`. */
  responseBody(exchange, body, { place = 0 } = {}) {
    const wanted = exchange.wanted.response;
    exchange.responseBody = this.#body(exchange, body, wanted, [], (body, last) =>
      this.hook.onResponseBody(piece(this.#call(place), body, last)),
    );
    return exchange;
  }

  /** Tells the hook that an exchange has ended. */
  end(exchange, { place = 0, ...summary } = {}) {
    this.#enter(exchange, { response: { status: summary.status ?? 200, headers: {} } });
    const none = { durationUs: 0n, bytesSent: 0n, bytesReceived: 0n };
    const call = this.#call(place);
    this.hook.onEnd({ ...call, status: 200, complete: true, ...none, ...summary });
  }

  #call(place) {
    return { exchange: 1n, place, nowUs: this.nowUs };
  }

  #told(exchange, verdict) {
    if (verdict instanceof Promise) return verdict.then((verdict) => this.#told(exchange, verdict));
    return Object.assign(exchange, { verdict: verdict ?? 'proceed' });
  }

  #body(exchange, body, wanted, trailers, called) {
    if (!wanted) throw new Error('the hook has not asked for this body');
    let pieces = [body].flat().map(bytes);
    if (wanted.whole !== undefined) {
      pieces = [joined(pieces)];
      if (pieces[0].length > wanted.whole) {
        if (wanted.beyond === 'pass') return text(pieces[0]);
        throw new Error(`the body has more than ${wanted.whole} bytes`);
      }
    }
    const made = pieces.map((piece, at) => {
      const last = at === pieces.length - 1;
      const into = { piece, isWatched: wanted === 'watch', trailers: last ? trailers : [] };
      this.#enter(exchange, { into });
      this.#told(exchange, called(piece, last));
      return into.piece;
    });
    return text(joined(made));
  }

  #enter(exchange, { response = { status: 0, headers: {} }, into } = {}) {
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
    const want = (of, method) => (manner, form) => {
      if (!this.hook[method]) return false;
      exchange.wanted[of] = manner;
      exchange.wanted.form = form ?? exchange.wanted.form;
      return true;
    };
    const answered = requestOf({ headers: response.headers });
    this.enter({
      request: requestOf(this.#requests.get(exchange)),
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
      bodies: {
        wantRequestBody: want('request', 'onRequestBody'),
        wantResponseBody: want('response', 'onResponseBody'),
        setBody: (body) => {
          if (!into || into.isWatched) return false;
          into.piece = bytes(body);
          return true;
        },
        trailers: () => into?.trailers ?? [],
      },
      upstreamRequests: {
        send: (request) => {
          this.asked.push(request);
          const { status = 200, headers = {}, body = '' } = this.upstream(request) ?? {};
          const header = ([name, value]) => ({ name, value: bytes(value) });
          const all = Object.entries(headers).map(header);
          return incoming({ status, headers: all, body: bytes(body), isWhole: true });
        },
        sendAndLeave: (request) => void this.asked.push(request),
      },
      checks: {
        verifyPassword: (hash, password) => {
          exchange.check = { hash, password };
        },
        checkHash: () => undefined,
      },
    });
  }
}

/** An exchange of which nothing is decided. */
const begun = (attributes = {}) => ({
  requestHeaders: {},
  responseHeaders: {},
  attributes: { ...attributes },
  wanted: {},
});

function joined(pieces) {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** The JSON schema that lists and editors are shown of a plugin's class. */
export const schemaOf = (plugin) => JSON.parse(describe(plugin.settings));
