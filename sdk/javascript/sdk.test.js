import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

import {
  bodies,
  changes,
  checks,
  files,
  fleet,
  host,
  request,
  store,
  StoreError,
  upstreamRequests,
} from './index.js';
import { indexes } from './guest.js';
import { describe, read, SettingsError } from './settings.js';
import { Hooked, Upstream } from './testing.js';

const schema = {
  mode: { type: 'string', enum: ['fast', 'safe'], default: 'safe' },
  ratio: { type: 'number', minimum: 0, maximum: 1 },
  rules: {
    type: 'array',
    items: { type: 'object', properties: { path: { type: 'string', required: true } } },
  },
};

test('settings are read by their schema, and refused by their key', () => {
  assert.equal(read(schema, '{}').mode, 'safe');
  assert.deepEqual(read(schema, '{"rules": [{"path": "/a"}]}').rules, [{ path: '/a' }]);
  for (const [given, key, message] of [
    [{ mode: 'slow' }, 'mode', '`mode` must be one of "fast", "safe"'],
    [{ ratio: 2 }, 'ratio', '`ratio` must be 1 or less'],
    [{ rules: [{ path: '/' }, {}] }, 'rules[1].path', '`rules[1].path` is missing'],
    [
      { rules: [{ pth: '/' }] },
      'rules[0].pth',
      'unknown key `rules[0].pth`; did you mean `path`?',
    ],
    [{ colour: 1 }, 'colour', 'unknown key `colour`; known keys: `mode`, `ratio`, `rules`'],
  ]) {
    assert.throws(
      () => read(schema, JSON.stringify(given)),
      (error) => error instanceof SettingsError && error.key === key && error.message === message,
    );
  }
});

test('a hook may wait for what another server says', async () => {
  class Login {
    async onRequest() {
      const answer = await fetch('http://auth/verify');
      if (answer.status === 200) return;
      changes.answer(answer.status, await answer.text());
      return 'answer';
    }
  }
  const asked = [];
  const { fetch: before } = globalThis;
  globalThis.fetch = async (url) => {
    asked.push(url);
    return new Response('no', { status: asked.length === 1 ? 200 : 403 });
  };
  try {
    const hooked = new Hooked(Login);
    assert.equal((await hooked.request()).verdict, 'proceed');
    const { verdict, answer } = await hooked.request();
    assert.equal(verdict, 'answer');
    assert.deepEqual(answer, { status: 403, body: 'no' });
    assert.deepEqual(asked, ['http://auth/verify', 'http://auth/verify']);
  } finally {
    globalThis.fetch = before;
  }
});

test('a hook asks an upstream in one call', () => {
  class Login {
    onRequest() {
      const answer = upstreamRequests.send({ upstream: 'auth', target: '/verify' });
      upstreamRequests.sendAndLeave({ upstream: 'audit', target: '/seen' });
      changes.setRequestHeader('x-user', answer.headers['x-user'] + answer.json().id);
    }
  }
  const hooked = new Hooked(Login);
  hooked.upstream = ({ target }) => ({ headers: { 'X-User': target }, body: '{"id": 7}' });
  assert.equal(hooked.request().requestHeaders['x-user'], '/verify7');
  assert.deepEqual(
    hooked.asked.map(({ upstream }) => upstream),
    ['auth', 'audit'],
  );
});

test('the schema that is shown refuses other keys too', () => {
  assert.deepEqual(JSON.parse(describe({ a: { type: 'string', required: true } })), {
    type: 'object',
    properties: { a: { type: 'string' } },
    required: ['a'],
    additionalProperties: false,
  });
});

test('what is not granted says so', () => {
  class Policy {
    pick() {
      return request.header('x') ? 0 : fleet.inFlight(0);
    }
  }
  assert.throws(() => new Upstream(Policy, { grants: [] }).pick(), /grants = \['request'\]/);
});

test('candidates are the bits of all words', () => {
  assert.deepEqual(indexes([0b101n, 0n, 1n << 63n]), [0, 2, 191]);
});

test('a hook that has asked for bodies makes others of them', () => {
  class Stamp {
    onRequest() {
      assert.ok(bodies.wantRequestBody({ whole: 10 }));
    }
    onRequestBody(call) {
      changes.setRequestHeader('x-item', call.json().item);
      return bodies.setBody('[]') ? 'proceed' : 'answer';
    }
    onResponse() {
      assert.ok(bodies.wantResponseBody('chunks', 'decoded'));
    }
    onResponseBody(call) {
      bodies.setBody(call.text().toUpperCase() + (call.last ? '.' : ''));
    }
  }
  const hooked = new Hooked(Stamp);
  const exchange = hooked.requestBody(hooked.request(), '{"item":1}');
  assert.equal(exchange.verdict, 'proceed');
  assert.equal(exchange.requestHeaders['x-item'], 1);
  assert.equal(exchange.requestBody, '[]');
  hooked.responseBody(hooked.response(exchange), ['ab', 'c']);
  assert.equal(exchange.responseBody, 'ABC.');
  assert.throws(() => hooked.requestBody(hooked.request(), 'x'.repeat(11)), /more than 10 bytes/);
});

test('a body that nobody has asked for, or may only watch, stays as it is', () => {
  class Watch {
    onRequest() {
      bodies.wantRequestBody('watch');
      assert.ok(!bodies.wantResponseBody('chunks', 'as-sent'), 'there is no method for it');
    }
    onRequestBody() {
      assert.ok(!bodies.setBody('other'));
      this.trailers = bodies.trailers();
    }
  }
  const hooked = new Hooked(Watch);
  const exchange = hooked.request();
  hooked.requestBody(exchange, ['a', 'b'], { trailers: [['x-sum', '2']] });
  assert.equal(exchange.requestBody, 'ab');
  assert.deepEqual(hooked.hook.trailers, [['x-sum', '2']]);
  assert.throws(() => hooked.responseBody(exchange, ''), /has not asked/);
});

test('passwords are checked, files are read and read again, ends are told', () => {
  class Users {
    constructor() {
      this.changed('users', files.read('users'));
    }
    changed(path, content) {
      this.users = new TextDecoder().decode(content);
    }
    onRequest() {
      checks.verifyPassword(this.users, 'secret');
      return 'wait';
    }
    onCheck({ passed }) {
      return passed ? 'proceed' : 'answer';
    }
    onEnd({ status }) {
      this.status = status;
    }
  }
  const hooked = new Hooked(Users, { files: { users: 'jo' } });
  const exchange = hooked.request();
  assert.deepEqual([exchange.verdict, exchange.check.hash], ['wait', 'jo']);
  assert.equal(hooked.check(exchange, true).verdict, 'proceed');
  hooked.changeFile('users', 'ann');
  assert.equal(hooked.request().check.hash, 'ann');
  hooked.end(exchange, { status: 499 });
  assert.equal(hooked.hook.status, 499);
});

test('a policy takes other servers in place', () => {
  class Last {
    change(endpoints) {
      this.last = endpoints.at(-1).index;
    }
    pick({ candidates }) {
      return candidates.find((index) => index === this.last);
    }
  }
  const upstream = new Upstream(Last, { servers: 2 });
  assert.equal(upstream.pick(), undefined);
  upstream.change([{ name: 's1' }, { name: 'new' }]);
  assert.equal(upstream.pick(), 2);
});

test('what the store refuses has a reason', () => {
  class Policy {
    pick() {
      store.set('name', 'jo', 0n);
      return Number(store.add('name', 1n, 0n));
    }
  }
  const is = (error) => error instanceof StoreError && error.reason === 'wrong-kind';
  assert.throws(() => new Upstream(Policy).pick(), is);
});

test('the doubles have every function of the contract', () => {
  class Anything {
    onRequest() {}
    pick() {}
  }
  const folder = new URL('wit/', import.meta.url);
  const camel = (name) => name.replace(/-(.)/g, (_, letter) => letter.toUpperCase());
  const there = new Set();
  for (const enter of [() => new Upstream(Anything), () => new Hooked(Anything)]) {
    enter();
    for (const [name, functions] of Object.entries(host))
      for (const key of Object.keys(functions)) there.add(`${name}.${key}`);
  }
  for (const file of readdirSync(folder)) {
    let name = '';
    for (const line of readFileSync(new URL(file, folder), 'utf8').split('\n')) {
      const begun = /^interface ([a-z-]+)/.exec(line)?.[1];
      name = begun ? camel(begun) : name;
      const key = /^ {2}([a-z-]+): func\(/.exec(line)?.[1];
      if (key && name in host) assert.ok(there.has(`${name}.${camel(key)}`), `${name}.${key}`);
    }
  }
});
