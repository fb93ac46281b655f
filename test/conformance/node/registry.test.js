'use strict';

// The registry's identities in all their forms: keys, thumbprints, unusual ids,
// callbacks, and bulk operations.

const assert = require('node:assert/strict');
const { Device } = require('azure-iothub');
const { test, serviceRegistry } = require('./hub');
const { register } = require('./identities');
const { called } = require('./wait');

const owner = serviceRegistry('iothubowner');
const keyOf = (byte) => Buffer.alloc(32, byte).toString('base64');
const keys = { primaryKey: keyOf(1), secondaryKey: keyOf(2) };

test('keys: those that are given are kept, those that are left out are made', async () => {
  const created = await register(owner, 'keyed', { authentication: { symmetricKey: keys } });
  assert.deepEqual(created.authentication.symmetricKey, keys);
  assert.equal(created.authentication.type, 'sas');
  const { responseBody: replaced } = await owner.update({ deviceId: 'keyed' });
  assert.notEqual(replaced.authentication.symmetricKey.primaryKey, keys.primaryKey);
});

const badKeys = {
  'one alone': { primaryKey: keyOf(1), secondaryKey: '' },
  'ones that are too short': { primaryKey: 'c2hvcnQ=', secondaryKey: 'c2hvcnQ=' },
  'ones that are not base64': { primaryKey: '!'.repeat(44), secondaryKey: '!'.repeat(44) },
};
for (const [what, symmetricKey] of Object.entries(badKeys)) {
  test(`keys: ${what} are refused`, async () => {
    await assert.rejects(register(owner, 'badly-keyed', { authentication: { symmetricKey } }), { name: 'ArgumentError' });
  });
}

const ways = {
  selfSigned: { x509Thumbprint: { primaryThumbprint: '0123456789ABCDEF0123456789ABCDEF01234567' } },
  certificateAuthority: { type: 'certificateAuthority' },
};
for (const [type, authentication] of Object.entries(ways)) {
  test(`authentication of type ${type} needs no keys`, async () => {
    const created = await register(owner, `with-${type}`, { authentication });
    assert.equal(created.authentication.type, type);
    assert.deepEqual(created.authentication.symmetricKey, { primaryKey: null, secondaryKey: null });
    assert.equal((await owner.getTwin(created.deviceId)).responseBody.authenticationType, type);
  });
}

test('a device has to prove who it is, a module gets keys for it', async () => {
  await assert.rejects(register(owner, 'with-none', { authentication: { type: 'none' } }), { name: 'ArgumentError' });
  await register(owner, 'of-none');
  const { responseBody: module } = await owner.addModule({ deviceId: 'of-none', moduleId: 'm', authentication: { type: 'none' } });
  assert.equal(module.authentication.type, 'sas');
});

test('the deprecated Device, full of nulls, is taken', async () => {
  const device = new Device({ deviceId: 'deprecated', status: 'disabled' });
  const { responseBody: created } = await owner.create(device);
  assert.ok(created instanceof Device);
  assert.equal(created.status, 'disabled');
  assert.match(created.authentication.symmetricKey.primaryKey, /=$/);
  assert.equal(created.cloudToDeviceMessageCount, 0);
});

for (const id of ["o'brien(1)*!", 'a:b=c@d,e+f%2F#g?h$i', '.', 'A-_.']) {
  test(`a device may be called ${id}`, async () => {
    const created = await register(owner, id);
    assert.equal(created.deviceId, id);
    assert.equal((await owner.get(id)).responseBody.generationId, created.generationId);
    assert.equal((await owner.getTwin(id)).responseBody.deviceId, id);
    await owner.delete(id);
    await assert.rejects(owner.get(id), { name: 'DeviceNotFoundError' });
  });
}

test('callbacks: identities', async () => {
  const [created, response] = await called(owner, 'create', { deviceId: 'by-callback' });
  assert.equal(response.statusCode, 200);
  const [read] = await called(owner, 'get', 'by-callback');
  assert.equal(read.etag, created.etag);
  const [updated] = await called(owner, 'update', { ...read, status: 'disabled' });
  assert.equal(updated.status, 'disabled');
  const [all] = await called(owner, 'list');
  assert.ok(all.every((device) => device instanceof Device));
  assert.ok(all.some((device) => device.deviceId === 'by-callback'));
  const [statistics] = await called(owner, 'getRegistryStatistics');
  assert.ok(statistics.disabledDeviceCount >= 1);
  const [, deleted] = await called(owner, 'delete', 'by-callback');
  assert.equal(deleted.statusCode, 204);
  await assert.rejects(called(owner, 'get', 'by-callback'), { name: 'DeviceNotFoundError' });
});

test('callbacks: modules', async () => {
  await register(owner, 'machine');
  const [created] = await called(owner, 'addModule', { deviceId: 'machine', moduleId: 'arm' });
  const [read] = await called(owner, 'getModule', 'machine', 'arm');
  assert.equal(read.etag, created.etag);
  const [updated] = await called(owner, 'updateModule', { ...read, managedBy: 'operations' }, false);
  assert.equal(updated.managedBy, 'operations');
  assert.deepEqual((await called(owner, 'getModulesOnDevice', 'machine'))[0], [updated]);
  await assert.rejects(called(owner, 'removeModule', read), { name: 'InvalidEtagError' });
  await called(owner, 'removeModule', updated);
  assert.deepEqual((await called(owner, 'getModulesOnDevice', 'machine'))[0], []);
});

test('callbacks: bulk', async () => {
  const names = ['fleet-1', 'fleet-2'];
  const [added] = await called(owner, 'addDevices', names.map((deviceId) => ({ deviceId, authentication: { symmetricKey: keys } })));
  assert.equal(added.isSuccessful, true);
  const [device] = await called(owner, 'get', 'fleet-1');
  assert.deepEqual(device.authentication.symmetricKey, keys);
  await called(owner, 'updateDevices', names.map((deviceId) => ({ deviceId, status: 'disabled' })), true);
  assert.equal((await owner.get('fleet-2')).responseBody.status, 'disabled');
  await called(owner, 'removeDevices', names.map((deviceId) => ({ deviceId })), true);
  await assert.rejects(owner.get('fleet-2'), { name: 'DeviceNotFoundError' });
});

test('bulk: what failed is told, what did not is done', async () => {
  await register(owner, 'there');
  await assert.rejects(
    owner.removeDevices([{ deviceId: 'there' }, { deviceId: 'absent' }], true),
    (err) => {
      assert.equal(err.name, 'ArgumentError');
      const { isSuccessful, errors } = JSON.parse(err.responseBody);
      assert.equal(isSuccessful, false);
      assert.deepEqual(errors.map(({ deviceId, errorCode }) => [deviceId, errorCode]), [['absent', 404001]]);
      return true;
    },
  );
  await assert.rejects(owner.get('there'), { name: 'DeviceNotFoundError' });
});

test('bulk: a device may be named once', async () => {
  await assert.rejects(
    owner.addDevices([{ deviceId: 'twice' }, { deviceId: 'twice' }]),
    (err) => err.name === 'ArgumentError' && err.response.headers['iothub-errorcode'] === 'DeviceDefinedMultipleTimes',
  );
});

test('bulk: a hundred devices at once', async () => {
  const hundred = Array.from({ length: 100 }, (_, i) => ({ deviceId: `hundred-${i}` }));
  assert.equal((await owner.addDevices(hundred)).responseBody.isSuccessful, true);
  await assert.rejects(owner.addDevices([...hundred, { deviceId: 'one-more' }]), { name: 'ArgumentError' });
  assert.equal((await owner.removeDevices(hundred, true)).responseBody.isSuccessful, true);
});
