import assert from 'node:assert/strict';
import { test } from 'node:test';

import { fleet, request } from './index.js';
import { indexes } from './guest.js';
import { describe, read, SettingsError } from './settings.js';
import { Upstream } from './testing.js';

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
