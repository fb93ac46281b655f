'use strict';

// What the end-to-end suite of Microsoft's own packages checks at a live hub, as
// far as it needs no AMQP and no storage, in words of our own: twins, identities,
// configurations, jobs and modules.

const assert = require('node:assert/strict');
const { JobClient } = require('azure-iothub');
const { Client, SharedAccessSignature } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { test, serviceRegistry, openTwin, report, desiredUpdates } = require('./hub');
const { transports, hosts, register, registerModule, clientOf } = require('./identities');
const { eventually, called } = require('./wait');

const owner = serviceRegistry('iothubowner');
const jobs = JobClient.fromConnectionString(JSON.parse(process.env.HUB_SERVICE_CONNECTIONS).iothubowner);
const key = (text) => Buffer.from(text).toString('base64');
const plain = (section) => {
  const { $version, $metadata, update, ...content } = section;
  return JSON.parse(JSON.stringify(content));
};

// What a section is set to, and what another write makes of it.
const first = { lamp: 1, fan: { speed: 2, blades: { count: 3 } } };
const writes = {
  'a merge': [{ fan: { speed: 3 } }, { lamp: 1, fan: { speed: 3, blades: { count: 3 } } }],
  'null for one': [{ fan: { blades: null } }, { lamp: 1, fan: { speed: 2 } }],
  'null for all': [null, {}],
};

// tokenOf is a token for an hour that a device of its own may renew.
function tokenOf({ deviceId, authentication }, seconds = 3600) {
  const expiry = Math.floor(Date.now() / 1000) + seconds;
  return SharedAccessSignature.create(hosts.TCP, deviceId, authentication.symmetricKey.primaryKey, expiry).toString();
}

// withTwins registers a device and runs with its twin from both ends.
async function withTwins(name, run, newClient = clientOf) {
  const identity = await register(owner, `twins-${name}`);
  const client = newClient(identity);
  try {
    const device = await openTwin(client);
    const { responseBody: service } = await owner.getTwin(identity.deviceId);
    await run({ identity, client, device, service });
  } finally {
    await client.close();
    await owner.delete(identity.deviceId);
  }
}

test('twin: desired.$version starts at 1 and moves by 1', () => withTwins('version', async ({ device, service }) => {
  assert.equal(device.properties.desired.$version, 1);
  const updates = await desiredUpdates(device);
  for (const version of [2, 3, 4]) {
    await service.update({ properties: { desired: first } });
    await updates.next(({ $version }) => $version === version, `version ${version}`);
    assert.equal(service.properties.desired.$version, version);
  }
  assert.deepEqual(plain(device.properties.desired), first);
}));

for (const [what, [second, result]] of Object.entries(writes)) {
  for (const etag of [undefined, '*']) {
    const suffix = etag ? ' with the etag *' : '';
    const name = `${what}${suffix}`.replaceAll(/\W/g, '');

    test(`twin: desired properties, ${what}${suffix}`, () => withTwins(`desired-${name}`, async ({ client, device, service }) => {
      const updates = await desiredUpdates(device);
      await service.update({ properties: { desired: first } });
      service.etag = etag ?? service.etag;
      await service.update({ properties: { desired: second } });
      await updates.next(({ $version }) => $version === 3, 'version 3');
      assert.deepEqual(plain(device.properties.desired), result, 'as the device was told');
      assert.deepEqual(plain(service.properties.desired), result);
      assert.deepEqual(plain((await client.getTwin()).properties.desired), result, 'as the device reads it');
    }));

    test(`twin: tags, ${what}${suffix}`, () => withTwins(`tags-${name}`, async ({ identity, service }) => {
      assert.deepEqual(service.tags, {});
      await service.update({ tags: first });
      assert.deepEqual(service.tags, first);
      service.etag = etag ?? service.etag;
      await service.update({ tags: second });
      assert.deepEqual(service.tags, result);
      assert.deepEqual((await owner.getTwin(identity.deviceId)).responseBody.tags, result);
    }));
  }
  if (second !== null) {
    test(`twin: reported properties, ${what}`, () => withTwins(`reported-${what.replaceAll(' ', '')}`, async ({ device, service }) => {
      assert.deepEqual(plain(service.properties.reported), {});
      await report(device, first);
      await report(device, second);
      await service.get();
      assert.deepEqual(plain(service.properties.reported), result);
    }));
  }
}

test('twin: a replacement with null empties the section', () => withTwins('put', async ({ identity, service }) => {
  await service.update({ tags: first, properties: { desired: first } });
  const { responseBody: replaced } = await owner.updateTwin(identity.deviceId, { properties: { desired: null } }, '*');
  assert.deepEqual(plain(replaced.properties.desired), {});
  assert.deepEqual(replaced.tags, first);
}));

test('twin: goes on after the token was renewed', () => withTwins('renewed', async ({ identity, client, device, service }) => {
  const updates = await desiredUpdates(device);
  for (let renewal = 1; renewal <= 20; renewal++) {
    await called(client, 'updateSharedAccessSignature', tokenOf(identity, 3600 + renewal));
  }
  await report(device, first);
  await service.get();
  assert.deepEqual(plain(service.properties.reported), { listening: true, ...first });
  await service.update({ properties: { desired: first } });
  await updates.next(({ $version }) => $version === 2, 'what is desired since');
}, (identity) => Client.fromSharedAccessSignature(tokenOf(identity), Mqtt)));

test('twin: what is desired while the device is away is there when it is back', () => withTwins('away', async ({ client, device, service }) => {
  await service.update({ properties: { desired: first } });
  await client.close();
  await service.update({ properties: { desired: { fan: { speed: 3 } } } });
  await client.open();
  const again = await client.getTwin();
  assert.equal(again, device, 'it is the same object');
  assert.deepEqual(plain(again.properties.desired), writes['a merge'][1]);
}));

test('registry: identities live, are listed and die', async () => {
  const wanted = {
    bare: {},
    keyed: { authentication: { symmetricKey: { primaryKey: key('1234567890qwerty'), secondaryKey: key('ytrewq0987654321') } }, status: 'disabled' },
    printed: {
      authentication: { x509Thumbprint: { primaryThumbprint: '0'.repeat(40), secondaryThumbprint: '1'.repeat(40) } }, status: 'disabled',
    },
  };
  for (const [deviceId, rest] of Object.entries(wanted)) {
    assert.equal((await register(owner, deviceId, rest)).deviceId, deviceId);
    const { responseBody: read } = await owner.get(deviceId);
    for (const [part, values] of Object.entries(rest.authentication ?? {})) {
      assert.deepEqual(read.authentication[part], values);
    }
    assert.equal(read.status, rest.status ?? 'enabled');
  }
  await assert.rejects(register(owner, 'invalid/name'));
  const listed = async () => (await owner.list()).responseBody.map(({ deviceId }) => deviceId).filter((id) => id in wanted);
  assert.deepEqual((await listed()).sort(), ['bare', 'keyed', 'printed']);

  const secondaryKey = key('qwertyuiopasdfghjkl');
  wanted.keyed.authentication.symmetricKey.secondaryKey = secondaryKey;
  const { responseBody: updated } = await owner.update({ deviceId: 'keyed', ...wanted.keyed });
  assert.equal(updated.authentication.symmetricKey.secondaryKey, secondaryKey);
  assert.equal((await owner.get('keyed')).responseBody.authentication.symmetricKey.secondaryKey, secondaryKey);

  await assert.rejects(owner.delete('was-never-there'), { name: 'DeviceNotFoundError' });
  for (const deviceId of Object.keys(wanted)) {
    await owner.delete(deviceId);
    await assert.rejects(owner.get(deviceId), { name: 'DeviceNotFoundError' });
    assert.ok(!(await listed()).includes(deviceId));
  }
});

test('registry: a device hangs below an edge device, by a scope that exists', async () => {
  const edge = await register(owner, 'scope-edge', { capabilities: { iotEdge: true } });
  assert.ok(edge.capabilities.iotEdge);
  assert.ok(edge.deviceScope);
  const leaf = await register(owner, 'scope-leaf', { deviceScope: edge.deviceScope });
  assert.equal(leaf.deviceScope, edge.deviceScope);
  await assert.rejects(owner.update({ ...leaf, deviceScope: 'f5f4a1a2-0000-4000-8000-000000000000' }));
});

for (const kind of ['device', 'module']) {
  const configuration = (what) => ({
    id: `node_e2e_${kind}_${what}`, targetCondition: '', priority: 20,
    content: { [`${kind}Content`]: { 'properties.desired': { prop1: 'foo' } } },
  });

  test(`configuration of a ${kind}: added, found, updated, forced, removed`, async () => {
    const added = configuration('life');
    await owner.addConfiguration(added);
    const { responseBody: found } = await owner.getConfiguration(added.id);
    const { responseBody: all } = await owner.getConfigurations();
    for (const one of [found, all.find(({ id }) => id === added.id)]) {
      assert.deepEqual(one.content, added.content);
    }
    await owner.updateConfiguration({ ...found, priority: 99 });
    assert.equal((await owner.getConfiguration(added.id)).responseBody.priority, 99);
    await called(owner, 'updateConfiguration', { ...added, priority: 98 }, true);
    assert.equal((await owner.getConfiguration(added.id)).responseBody.priority, 98);
    await owner.removeConfiguration(added.id);
    await assert.rejects(owner.getConfiguration(added.id));
  });
}

// jobIs waits for a job to be in a state.
const jobIs = (id, wanted) => eventually(`job ${id}`, async () => (await jobs.getJob(id)).jobStatus.status, (status) => status === wanted);
const inAnHour = () => new Date(Date.now() + 3_600_000);
const schedules = {
  'twin update': (id, condition, start) => jobs.scheduleTwinUpdate(
    id, condition, { etag: '*', tags: { key: 'value2' }, properties: { desired: {}, reported: {} } }, start, 120,
  ),
  'device method': (id, condition, start) => jobs.scheduleDeviceMethod(
    id, condition, { methodName: 'testMethod', payload: null, timeoutInSeconds: 30 }, start, 120,
  ),
};
for (const [what, schedule] of Object.entries(schedules)) {
  const name = what.replace(' ', '-');

  test(`job, ${what}: done at once`, async () => {
    const identity = await register(owner, `job-${name}`);
    const client = clientOf(identity);
    let answered = false;
    try {
      await client.open();
      client.onDeviceMethod('testMethod', (request, response) => response.send(200, (err) => { answered = !err; }));
      await report(await client.getTwin(), { listening: true });
      await schedule(name, `deviceId = '${identity.deviceId}'`, new Date());
      await jobIs(name, 'completed');
      const { responseBody: twin } = await owner.getTwin(identity.deviceId);
      assert.equal(what === 'device method' ? answered : twin.tags.key === 'value2', true);
    } finally {
      await client.close();
    }
  });

  test(`job, ${what}: cancelled before it starts`, async () => {
    const { jobStatus: created } = await schedule(`${name}-later`, "deviceId = 'absent'", inAnHour());
    assert.equal(created.jobId, `${name}-later`);
    assert.equal(created.status, 'queued');
    await jobs.cancelJob(`${name}-later`);
    await jobIs(`${name}-later`, 'cancelled');
  });
}

test('modules: added, found, updated with their keys exchanged, and removed', async () => {
  await register(owner, 'host');
  for (const force of [true, false]) {
    await registerModule(owner, 'host', 'swapped');
    const { responseBody: found } = await owner.getModule('host', 'swapped');
    const ids = (await owner.getModulesOnDevice('host')).responseBody.map(({ deviceId, moduleId }) => `${deviceId}/${moduleId}`);
    assert.deepEqual(ids, ['host/swapped']);
    const { primaryKey, secondaryKey } = found.authentication.symmetricKey;
    found.authentication.symmetricKey = { primaryKey: secondaryKey, secondaryKey: primaryKey };
    if (force) {
      delete found.etag;
    }
    await owner.updateModule(found, force);
    const { responseBody: updated } = await owner.getModule('host', 'swapped');
    assert.deepEqual(updated.authentication.symmetricKey, { primaryKey: secondaryKey, secondaryKey: primaryKey });
    await (force ? owner.removeModule('host', 'swapped') : called(owner, 'removeModule', updated));
    await assert.rejects(owner.getModule('host', 'swapped'));
  }
});

for (const transport of Object.keys(transports)) {
  test(`module twin over ${transport}: desired and reported`, async () => {
    const host = `module-host-${transport.toLowerCase()}`;
    await register(owner, host);
    const client = clientOf(await registerModule(owner, host, 'arm'), transport);
    try {
      const twin = await openTwin(client);
      const updates = await desiredUpdates(twin);
      const { responseBody: service } = await owner.getModuleTwin(host, 'arm');
      await service.update({ properties: { desired: { fake: 'value' } } });
      await updates.next(({ fake }) => fake === 'value', 'the desired change');
      await report(twin, { another: 'value' });
      await service.get();
      assert.equal(service.properties.reported.another, 'value');
    } finally {
      await client.close();
    }
  });
}
