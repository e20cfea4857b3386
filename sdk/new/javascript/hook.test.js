import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Hooked } from 'waypost/testing';

import { grants, hook } from './plugin.js';

test('the server learns the tenant', () => {
  const hooked = new Hooked(hook, { grants });
  const exchange = hooked.request({ headers: { 'X-Tenant': 'acme' } });
  assert.equal(exchange.verdict, 'proceed');
  assert.equal(exchange.requestHeaders['x-authenticated-tenant'], 'acme');
});

test('a request without a tenant is a 401', () => {
  const exchange = new Hooked(hook, { grants }).request();
  assert.equal(exchange.verdict, 'answer');
  assert.deepEqual(exchange.answer, { status: 401, body: 'say who you are: x-tenant\n' });
});

test('a misspelled setting is refused', () => {
  const misspelled = () => new Hooked(hook, { settings: { haeder: 'x-tenant' } });
  assert.throws(misspelled, { message: 'unknown key `haeder`; did you mean `header`?' });
});
