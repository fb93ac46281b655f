'use strict';

// What the tutorial does not show and the operator relies on: identities,
// paging, and how the service package reads the hub's refusals.

const assert = require('node:assert/strict');
const { test, serviceRegistry, idsOf, deviceClient } = require('./hub');

const owner = serviceRegistry('iothubowner');
const fleet = ['press-1', 'press-2', 'press-3'];

test('identities: created, read, listed, updated and removed', async () => {
  const { responseBody: created } = await owner.create({ deviceId: 'visitor' });
  assert.match(created.authentication.symmetricKey.primaryKey, /^[A-Za-z0-9+/]+=*$/);
  await assert.rejects(owner.create({ deviceId: 'visitor' }), { name: 'DeviceAlreadyExistsError' });

  const { responseBody: read } = await owner.get('visitor');
  assert.equal(read.generationId, created.generationId);
  assert.ok((await owner.list()).responseBody.some((device) => device.deviceId === 'visitor'));

  const { responseBody: updated } = await owner.update({ ...read, status: 'disabled', statusReason: 'visiting hours' });
  assert.equal(updated.status, 'disabled');
  assert.equal(updated.authentication.symmetricKey.primaryKey, created.authentication.symmetricKey.primaryKey);

  await owner.delete('visitor');
  await assert.rejects(owner.get('visitor'), { name: 'DeviceNotFoundError' });
});

test('queries: pages are followed to the end', async () => {
  for (const deviceId of fleet) {
    await owner.create({ deviceId });
    await owner.updateTwin(deviceId, { tags: { line: 'stamping' } }, '*');
  }
  const pages = await idsOf(owner, "SELECT * FROM devices WHERE tags.line = 'stamping'", 2);
  assert.deepEqual(pages.flat().sort(), fleet);
  assert.ok(pages.every((page) => page.length <= 2), `pages of at most two, got ${JSON.stringify(pages)}`);
});

test('queries: a projection answers raw rows', async () => {
  const query = owner.createQuery("SELECT deviceId, tags.line AS line FROM devices WHERE deviceId = 'press-2'");
  const { result, message } = await query.next();
  assert.deepEqual(result, [{ deviceId: 'press-2', line: 'stamping' }]);
  assert.equal(message.headers['x-ms-item-type'], 'Raw');
});

test('refusals: a malformed query is an argument error', async () => {
  await assert.rejects(
    owner.createQuery('SELECT * FORM devices').next(),
    (err) => err.name === 'ArgumentError' && err.response.statusCode === 400,
  );
});

test('refusals: an unknown device is DeviceNotFound', async () => {
  await assert.rejects(owner.getTwin('missing'), { name: 'DeviceNotFoundError' });
});

test('refusals: a policy without ServiceConnect reads no twin', async () => {
  await assert.rejects(
    serviceRegistry('registryReadWrite').getTwin('press-1'),
    (err) => err.name === 'UnauthorizedError' && err.response.statusCode === 401,
  );
});

test('refusals: a key that IoT Hub does not take', async () => {
  await assert.rejects(
    owner.updateTwin('press-1', { tags: { 'a.b': 1 } }, '*'),
    (err) => err.name === 'ArgumentError' && err.response.statusCode === 400,
  );
});

test('refusals: a device with a wrong key does not connect', async () => {
  const wrong = process.env.HUB_DEVICE_CONNECTION
    .replace(/SharedAccessKey=.*/, `SharedAccessKey=${Buffer.alloc(32, 7).toString('base64')}`);
  const client = deviceClient(wrong);
  await assert.rejects(client.open(), { name: 'UnauthorizedError' });
});
