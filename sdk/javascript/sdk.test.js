import assert from 'node:assert/strict';
import { test } from 'node:test';

import { changes, fleet, request } from './index.js';
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
