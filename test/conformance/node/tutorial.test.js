'use strict';

// The device twins tutorial's two programs, the service app and the device app,
// written against the published packages. The cases tell one story: each starts
// from the hub the one before it left.

const { after } = require('node:test');
const assert = require('node:assert/strict');
const { test, serviceRegistry, deviceClient, openTwin, report, desiredUpdates, idsOf } = require('./hub');

const deviceId = process.env.HUB_DEVICE_ID;
const inRedmond = "SELECT * FROM devices WHERE tags.location.plant = 'Redmond43'";
const onCellular = `${inRedmond} AND properties.reported.connectivity = 'cellular'`;

const registry = serviceRegistry('service');
const device = deviceClient();
let deviceTwin;
let staleEtag;

const twinOf = async (id) => (await registry.getTwin(id)).responseBody;

after(() => device.close());

test('service: a new device has an empty twin', async () => {
  const twin = await twinOf(deviceId);
  assert.equal(twin.deviceId, deviceId);
  assert.equal(twin.etag, 'AAAAAAAAAAE=');
  assert.equal(twin.version, 2);
  assert.equal(twin.connectionState, 'Disconnected');
  assert.deepEqual(twin.tags, {});
  assert.equal(twin.properties.desired.$version, 1);
  assert.equal(twin.properties.reported.$version, 1);
});

test('service: tags are updated under the etag that was read', async () => {
  const twin = await twinOf(deviceId);
  staleEtag = twin.etag;
  await twin.update({ tags: { location: { region: 'US', plant: 'Redmond43' } } });
  assert.deepEqual(twin.tags, { location: { region: 'US', plant: 'Redmond43' } });
  assert.equal(twin.etag, 'AAAAAAAAAAI=');
  const read = await twinOf(deviceId);
  assert.deepEqual(read.tags, twin.tags);
  assert.equal(read.etag, twin.etag);
  assert.equal(read.properties.desired.$version, 1, 'a tags-only change leaves the desired version alone');
});

test('service: a stale etag is refused with 412 and nothing is applied', async () => {
  await assert.rejects(
    registry.updateTwin(deviceId, { tags: { location: { plant: 'Elsewhere' } } }, staleEtag),
    (err) => {
      assert.equal(err.name, 'InvalidEtagError');
      assert.equal(err.response.statusCode, 412);
      assert.equal(err.response.headers['iothub-errorcode'], 'PreconditionFailed');
      return true;
    },
  );
  const twin = await twinOf(deviceId);
  assert.equal(twin.tags.location.plant, 'Redmond43');
  assert.equal(twin.etag, 'AAAAAAAAAAI=');
});

test('service: the wildcard etag updates whatever is there, and objects merge', async () => {
  const update = async (tags) => (await registry.updateTwin(deviceId, { tags }, '*')).responseBody.tags;
  assert.deepEqual(
    await update({ location: { plant: 'Elsewhere' }, note: { by: 'wildcard', list: [1, 2] } }),
    { location: { region: 'US', plant: 'Elsewhere' }, note: { by: 'wildcard', list: [1, 2] } },
  );
  assert.deepEqual(
    await update({ location: { plant: 'Redmond43' }, note: { by: null, list: [3] } }),
    { location: { region: 'US', plant: 'Redmond43' }, note: { list: [3] } },
  );
  assert.deepEqual(await update({ note: null }), { location: { region: 'US', plant: 'Redmond43' } });
});

test('service: the plant is found by query, the cellular devices of the plant are none', async () => {
  assert.deepEqual((await idsOf(registry, inRedmond, 100)).flat(), [deviceId]);
  assert.deepEqual((await idsOf(registry, onCellular, 100)).flat(), []);
});

test('device: it opens and reads its twin', async () => {
  deviceTwin = await openTwin(device);
  assert.equal(deviceTwin.properties.desired.$version, 1);
  assert.equal(deviceTwin.properties.reported.$version, 1);
  assert.equal(deviceTwin.tags, undefined, 'tags are not for devices');
  assert.equal((await twinOf(deviceId)).connectionState, 'Connected');
});

test('device: it reports its connectivity', async () => {
  const before = await twinOf(deviceId);
  await report(deviceTwin, { connectivity: 'cellular' });
  const twin = await twinOf(deviceId);
  assert.equal(twin.properties.reported.connectivity, 'cellular');
  assert.equal(twin.properties.reported.$version, before.properties.reported.$version + 1);
  assert.equal(twin.version, before.version + 1);
  assert.equal(twin.etag, before.etag, 'a report leaves the etag alone');
  assert.ok(twin.properties.reported.$metadata.connectivity.$lastUpdated);
  assert.equal(twin.properties.reported.$metadata.connectivity.$lastUpdatedVersion, undefined);
});

test('service: the cellular query finds the device once it has reported', async () => {
  assert.deepEqual((await idsOf(registry, onCellular, 100)).flat(), [deviceId]);
});

test('device: it is told of a desired change, a second one and a removal', async () => {
  const updates = await desiredUpdates(deviceTwin);
  const desire = (desired) => registry.updateTwin(deviceId, { properties: { desired } }, '*');

  const { responseBody: first } = await desire({ power_level: 1 });
  const told = await updates.next((delta) => delta.power_level === 1, 'power_level 1');
  assert.equal(told.$version, first.properties.desired.$version);

  await desire({ power_level: 2 });
  await updates.next((delta) => delta.power_level === 2, 'power_level 2');

  await desire({ power_level: null });
  const removed = await updates.next((delta) => delta.power_level === null, 'the removal');
  assert.equal(removed.$version, first.properties.desired.$version + 2);
  assert.equal((await twinOf(deviceId)).properties.desired.power_level, undefined);
});

test('service: the device is seen to leave', async () => {
  await device.close();
  const deadline = Date.now() + 10_000;
  let state;
  do {
    state = (await twinOf(deviceId)).connectionState;
  } while (state !== 'Disconnected' && Date.now() < deadline);
  assert.equal(state, 'Disconnected');
});
