import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Upstream } from 'waypost/testing';

import { grants, scorer } from './plugin';

test('the least busy server is the best', () => {
  const upstream = new Upstream(scorer, { settings: { most: 4 }, servers: 3, grants });
  [2, 0, 9].forEach((load, index) => {
    upstream.servers[index].inFlight = load;
  });
  assert.deepEqual(upstream.score(), [32767, 65535, 0]);
});

test('a misspelled setting is refused', () => {
  const misspelled = () => new Upstream(scorer, { settings: { mots: 4 } });
  assert.throws(misspelled, { message: 'unknown key `mots`; did you mean `most`?' });
});
