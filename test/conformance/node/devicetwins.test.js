'use strict';

// A twin from the device's end over both transports: what it reports, what it is
// told, and by which events.

const assert = require('node:assert/strict');
const https = require('node:https');
const { test, serviceRegistry, openTwin, report, desiredUpdates } = require('./hub');
const { transports, register, clientOf } = require('./identities');
const { happens } = require('./wait');

const owner = serviceRegistry('iothubowner');
const desire = (deviceId, desired) => owner.updateTwin(deviceId, { properties: { desired } }, '*');
const reported = async (deviceId) => (await owner.getTwin(deviceId)).responseBody.properties.reported;
const without = ({ $metadata, $version, ...content }) => content;

for (const transport of Object.keys(transports)) {
  // withTwin registers a device and runs while its twin is open.
  const withTwin = async (what, run, options = {}) => {
    const identity = await register(owner, `${what}-${transport.toLowerCase()}`);
    const client = clientOf(identity, transport);
    await client.setOptions(options);
    try {
      return await run(await openTwin(client), identity.deviceId, client);
    } finally {
      await client.close();
    }
  };

  test(`${transport}: reports merge, nulls delete, arrays are replaced`, () => withTwin('reports', async (twin, deviceId) => {
    await report(twin, { valve: { open: true, turns: 3 }, log: [1, 2, 3], note: 'first' });
    await report(twin, { valve: { turns: 4, open: null }, log: [4], note: null, ratio: 0.5 });
    const seen = await reported(deviceId);
    assert.deepEqual(without(seen), { valve: { turns: 4 }, log: [4], ratio: 0.5 });
    assert.equal(seen.$version, 3);
    assert.ok(seen.$metadata.valve.turns.$lastUpdated);
    const { properties } = await twin.get();
    assert.deepEqual(JSON.parse(JSON.stringify(without(properties.reported))), { valve: { turns: 4 }, log: [4], ratio: 0.5 });
    assert.equal(properties.reported.$metadata, undefined, 'a device sees no metadata');
  }));

  test(`${transport}: reports that are sent together are all kept`, () => withTwin('together', async (twin, deviceId) => {
    const names = Array.from({ length: 50 }, (_, i) => `sensor${i}`);
    await Promise.all(names.map((name) => report(twin, { [name]: name })));
    const seen = await reported(deviceId);
    assert.deepEqual(Object.keys(without(seen)).sort(), names.sort());
    assert.equal(seen.$version, 51);
  }));

  test(`${transport}: a report of almost 32 KB`, () => withTwin('large', async (twin, deviceId) => {
    const large = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`s${i}`, 'x'.repeat(4000)]));
    await report(twin, large);
    assert.deepEqual(without(await reported(deviceId)), large);
  }));

  test(`${transport}: what is desired is told by its path`, () => withTwin('paths', async (twin, deviceId) => {
    await desiredUpdates(twin);
    const told = { rate: happens(twin, 'properties.desired.pump.rate'), pump: happens(twin, 'properties.desired.pump') };
    await desire(deviceId, { pump: { rate: 7, mode: 'eco' } });
    assert.deepEqual(await told.rate, [7]);
    assert.deepEqual(await told.pump, [{ rate: 7, mode: 'eco' }]);
    assert.deepEqual(JSON.parse(JSON.stringify(twin.properties.desired.pump)), { rate: 7, mode: 'eco' });
  }));

  test(`${transport}: changes come in the order of their versions`, () => withTwin('order', async (twin, deviceId) => {
    const updates = await desiredUpdates(twin);
    for (let step = 1; step <= 20; step++) {
      await desire(deviceId, { step });
    }
    await updates.next(({ step }) => step === 20, 'step 20');
    const steps = updates.seen.filter(({ step }) => step !== undefined);
    assert.deepEqual(steps.map(({ step }) => step), Array.from({ length: 20 }, (_, i) => i + 1));
    assert.deepEqual(steps.map(({ $version }) => $version), steps.map(({ step }) => step + 1));
  }));

  test(`${transport}: what changed while the device was away is read, not told`, async () => {
    const identity = await register(owner, `away-${transport.toLowerCase()}`);
    const before = clientOf(identity, transport);
    await desiredUpdates(await openTwin(before));
    await before.close();
    await desire(identity.deviceId, { missed: 1 });
    const after = clientOf(identity, transport);
    const twin = await openTwin(after);
    assert.equal(twin.properties.desired.missed, 1);
    const updates = await desiredUpdates(twin);
    assert.deepEqual(updates.seen.map(({ $version }) => $version), [2], 'the whole section once, and no patch');
    await after.close();
  });

  test(`${transport}: tags are none of the device's business`, () => withTwin('tags', async (twin, deviceId, client) => {
    const updates = await desiredUpdates(twin);
    await owner.updateTwin(deviceId, { tags: { hall: 7 } }, '*');
    await report(twin, { read: true }); // an update that was sent would have come by now
    assert.equal(updates.seen.length, 1);
    assert.equal((await client.getTwin()).tags, undefined);
  }));

  test(`${transport}: a hub may be reached through an agent, and left at once`, () => {
    const options = { keepalive: 10, mqtt: { webSocketAgent: new https.Agent(), forceDisconnect: true } };
    return withTwin('agent', (twin) => report(twin, { by: 'agent' }), options);
  });
}
