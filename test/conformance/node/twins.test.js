'use strict';

// Twins and queries as the service package offers them: the Twin object of a
// device and of a module, conflicts between two writers, and paging.

const assert = require('node:assert/strict');
const { Twin } = require('azure-iothub');
const { test, serviceRegistry } = require('./hub');
const { register, registerModule } = require('./identities');
const { called } = require('./wait');

const owner = serviceRegistry('iothubowner');
const fleet = Array.from({ length: 5 }, (_, i) => `lathe-${i}`);

// Both kinds of twin, by the same names.
const kinds = {
  device: {
    make: (id) => register(owner, id),
    read: async (id) => (await owner.getTwin(id)).responseBody,
    write: (id, patch, etag) => owner.updateTwin(id, patch, etag),
  },
  module: {
    make: async (id) => {
      await register(owner, id);
      await registerModule(owner, id, 'arm');
    },
    read: async (id) => (await owner.getModuleTwin(id, 'arm')).responseBody,
    write: (id, patch, etag) => owner.updateModuleTwin(id, 'arm', patch, etag),
  },
};

for (const [kind, { make, read, write }] of Object.entries(kinds)) {
  test(`${kind} twin: the object follows what it writes and what it reads`, async () => {
    const id = `${kind}-object`;
    await make(id);
    const twin = await read(id);
    assert.ok(twin instanceof Twin);
    await twin.update({ tags: { hall: { row: 7 } }, properties: { desired: { speed: 1200, tools: ['a', 'b'] } } });
    assert.deepEqual(twin.tags, { hall: { row: 7 } });
    assert.deepEqual(twin.properties.desired.tools, ['a', 'b']);
    await write(id, { tags: { hall: null }, properties: { desired: { tools: ['c'] } } }, '*');
    await twin.get();
    assert.deepEqual(twin.tags, {});
    assert.deepEqual(twin.properties.desired.tools, ['c']);
    assert.equal(twin.properties.desired.$version, 3);
    assert.equal(twin.properties.desired.speed, 1200);
  });

  test(`${kind} twin: of two writers the second is told, and succeeds once it has read`, async () => {
    const id = `${kind}-conflict`;
    await make(id);
    const [first, second] = [await read(id), await read(id)];
    await first.update({ tags: { by: 'first' } });
    await assert.rejects(second.update({ tags: { by: 'second' } }), { name: 'InvalidEtagError' });
    await second.get();
    assert.equal(second.tags.by, 'first');
    await second.update({ tags: { by: 'second' } });
    assert.equal((await read(id)).tags.by, 'second');
  });

  test(`${kind} twin: callbacks`, async () => {
    const id = `${kind}-callback`;
    await make(id);
    const twin = await read(id);
    const [updated, response] = await called(twin, 'update', { tags: { by: 'callback' } });
    assert.equal(updated, twin);
    assert.equal(response.statusCode, 200);
    const [got] = await called(twin, 'get');
    assert.equal(got.tags.by, 'callback');
  });
}

test('callbacks: a registry reads and writes twins', async () => {
  await kinds.module.make('plain');
  const [device] = await called(owner, 'getTwin', 'plain');
  assert.equal((await called(owner, 'updateTwin', 'plain', { tags: { a: 1 } }, device.etag))[0].tags.a, 1);
  const [module] = await called(owner, 'getModuleTwin', 'plain', 'arm');
  assert.equal((await called(owner, 'updateModuleTwin', 'plain', 'arm', { tags: { a: 2 } }, module.etag))[0].tags.a, 2);
  assert.equal((await owner.getTwin('plain')).responseBody.tags.a, 1);
});

test('a Twin that was made from an id alone writes unconditionally', async () => {
  await register(owner, 'from-id');
  const twin = new Twin('from-id', owner);
  await twin.update({ tags: { by: 'id' } });
  assert.equal(twin.tags.by, 'id');
  assert.equal(twin.etag, 'AAAAAAAAAAI=');
});

test('a Twin is written as JSON without its client', async () => {
  await register(owner, 'as-json');
  const text = JSON.stringify((await owner.getTwin('as-json')).responseBody);
  assert.equal(JSON.parse(text).deviceId, 'as-json');
  assert.ok(!text.includes('_registry'));
});

test('queries: each page is asked for with the token of the one before', async () => {
  for (const deviceId of fleet) {
    await register(owner, deviceId);
    await owner.updateTwin(deviceId, { tags: { shop: 'turning' } }, '*');
  }
  const query = owner.createQuery("SELECT * FROM devices WHERE tags.shop = 'turning'", 2);
  const found = [];
  for (let token; query.hasMoreResults; token = query.continuationToken) {
    const { result, message } = await query.next(token);
    assert.equal(message.headers['x-ms-item-type'], 'Twin');
    found.push(...result.map(({ deviceId }) => deviceId));
  }
  assert.deepEqual(found.sort(), fleet);
});

test('queries: a page is asked for again with its token', async () => {
  const query = owner.createQuery("SELECT deviceId FROM devices WHERE tags.shop = 'turning'", 2);
  await query.next();
  const token = query.continuationToken;
  const page = (await query.next(token)).result;
  assert.deepEqual((await query.next(token)).result, page);
});

test('queries: rows are twins that can be written', async () => {
  const [twins] = await called(owner.createQuery("SELECT * FROM devices WHERE deviceId = 'lathe-3'"), 'nextAsTwin');
  assert.ok(twins[0] instanceof Twin);
  await twins[0].update({ tags: { inspected: true } });
  assert.equal((await owner.getTwin('lathe-3')).responseBody.tags.inspected, true);
});

test('queries: the twins of modules are found', async () => {
  await registerModule(owner, 'lathe-1', 'spindle');
  const query = owner.createQuery("SELECT * FROM devices.modules WHERE moduleId = 'spindle'");
  const { result } = await query.nextAsTwin();
  assert.deepEqual(result.map(({ deviceId, moduleId }) => [deviceId, moduleId]), [['lathe-1', 'spindle']]);
  await result[0].update({ tags: { checked: true } });
  assert.equal((await owner.getModuleTwin('lathe-1', 'spindle')).responseBody.tags.checked, true);
});

test('queries: devices are counted', async () => {
  const query = owner.createQuery("SELECT COUNT() AS n FROM devices WHERE tags.shop = 'turning'");
  assert.deepEqual((await called(query, 'next'))[0], [{ n: fleet.length }]);
});

test('queries: a token of another query is refused', async () => {
  const query = owner.createQuery("SELECT * FROM devices WHERE tags.shop = 'turning'", 2);
  await query.next();
  await assert.rejects(owner.createQuery('SELECT * FROM devices', 2).next(query.continuationToken), { name: 'ArgumentError' });
});

test('queries: a page has a hundred rows at most, whatever is asked for', async () => {
  const hundred = Array.from({ length: 100 }, (_, i) => ({ deviceId: `page-${i}` }));
  await owner.addDevices(hundred);
  const query = owner.createQuery('SELECT * FROM devices', 1000);
  assert.equal((await query.next()).result.length, 100);
  assert.ok(query.hasMoreResults);
  await owner.removeDevices(hundred, true);
  await assert.rejects(owner.createQuery('SELECT * FROM devices', -1).next(), { name: 'ArgumentError' });
});
