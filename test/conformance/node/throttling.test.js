'use strict';

// A hub of tier F1: its throttle for queries, and its daily quota.

const assert = require('node:assert/strict');
const { test, serviceRegistry } = require('./hub');

const owner = serviceRegistry('iothubowner');
const deviceId = process.env.HUB_DEVICE_ID;

// untilRefused asks until the hub refuses.
async function untilRefused(ask, attempts) {
  for (let i = 0; i < attempts; i++) {
    try {
      await ask();
    } catch (err) {
      return err;
    }
  }
  throw new Error(`the hub did not refuse in ${attempts} attempts`);
}

test('queries: too many at once are throttled', async () => {
  const queries = Array.from({ length: 100 }, () => owner.createQuery('SELECT deviceId FROM devices').next());
  const outcomes = await Promise.allSettled(queries);
  const refused = outcomes.filter(({ status }) => status === 'rejected').map(({ reason }) => reason);
  assert.ok(refused.length > 0 && refused.length < queries.length, `${refused.length} of ${queries.length} were refused`);
  for (const err of refused) {
    assert.equal(err.name, 'ThrottlingError');
    assert.equal(err.response.headers['iothub-errorcode'], 'ThrottlingBacklogTimeout');
    assert.equal(err.response.headers.connection, 'close');
  }
  await owner.getTwin(deviceId); // which has a throttle of its own
});

test('quota: when the messages of the day are used up, twins are refused and identities are not', async () => {
  const desired = Object.fromEntries(Array.from({ length: 7 }, (_, i) => [`s${i}`, 'x'.repeat(4000)]));
  await owner.updateTwin(deviceId, { properties: { desired } }, '*');
  const err = await untilRefused(() => owner.getTwin(deviceId), 200);
  assert.equal(err.name, 'TooManyDevicesError');
  assert.equal(err.response.statusCode, 403);
  assert.equal(err.response.headers['iothub-errorcode'], 'IotHubQuotaExceeded');
  await assert.rejects(owner.updateTwin(deviceId, { tags: { a: 1 } }, '*'), { name: 'TooManyDevicesError' });
  assert.equal((await owner.get(deviceId)).responseBody.deviceId, deviceId);
});
