'use strict';

// Modules, bulk operations, scopes and statistics, as the service package
// reaches them.

const assert = require('node:assert/strict');
const { test, serviceRegistry } = require('./hub');

const owner = serviceRegistry('iothubowner');

test('modules: created, read, listed, updated and removed', async () => {
  await owner.create({ deviceId: 'gateway' });
  const { responseBody: created } = await owner.addModule({ deviceId: 'gateway', moduleId: 'filter' });
  assert.match(created.authentication.symmetricKey.primaryKey, /^[A-Za-z0-9+/]+=*$/);
  await assert.rejects(
    owner.addModule({ deviceId: 'gateway', moduleId: 'filter' }),
    (err) => err.name === 'DeviceAlreadyExistsError' && err.responseBody.includes('"errorCode":409301'),
  );
  const { responseBody: read } = await owner.getModule('gateway', 'filter');
  assert.equal(read.etag, created.etag);
  assert.deepEqual((await owner.getModulesOnDevice('gateway')).responseBody, [read]);

  const { responseBody: updated } = await owner.updateModule({ ...read, managedBy: 'operations' });
  assert.equal(updated.managedBy, 'operations');
  await assert.rejects(owner.updateModule({ ...read, managedBy: 'another-team' }), { name: 'InvalidEtagError' });
  await owner.updateModule({ ...read, managedBy: 'operations' }, true);

  await owner.removeModule('gateway', 'filter');
  await assert.rejects(owner.getModule('gateway', 'filter'), (err) => err.response.statusCode === 404);
});

test('module twins: read, patched, and refused with a stale etag', async () => {
  await owner.addModule({ deviceId: 'gateway', moduleId: 'twin' });
  const { responseBody: twin } = await owner.getModuleTwin('gateway', 'twin');
  assert.equal(twin.version, 2);
  const patch = { tags: { line: 'a' }, properties: { desired: { rate: 5 } } };
  const { responseBody: patched } = await owner.updateModuleTwin('gateway', 'twin', patch, twin.etag);
  assert.equal(patched.properties.desired.rate, 5);
  await assert.rejects(owner.updateModuleTwin('gateway', 'twin', patch, twin.etag), { name: 'InvalidEtagError' });
  await owner.updateModuleTwin('gateway', 'twin', patch, '*');
  await assert.rejects(owner.getModuleTwin('gateway', 'missing'), { name: 'DeviceNotFoundError' });
});

test('bulk: devices are added, updated and removed', async () => {
  const { responseBody: added } = await owner.addDevices([{ deviceId: 'bulk-1' }, { deviceId: 'bulk-2', status: 'disabled' }]);
  assert.deepEqual(added, { isSuccessful: true, errors: [], warnings: [] });
  await assert.rejects(
    owner.addDevices([{ deviceId: 'bulk-1' }]),
    (err) => err.response.statusCode === 400 && JSON.parse(err.responseBody).errors[0].errorCode === 409001,
  );
  const { responseBody: device } = await owner.get('bulk-1');
  await owner.updateDevices([{ ...device, status: 'disabled' }], false);
  await assert.rejects(
    owner.updateDevices([{ ...device, status: 'enabled' }], false),
    (err) => JSON.parse(err.responseBody).errors[0].errorCode === 412001,
  );
  await owner.updateDevices([{ ...device, status: 'enabled' }], true);
  await assert.rejects(owner.removeDevices([device], false), (err) => err.response.statusCode === 400);
  await owner.removeDevices([device, { deviceId: 'bulk-2' }], true);
  await assert.rejects(owner.get('bulk-2'), { name: 'DeviceNotFoundError' });
});

test('edge: a leaf hangs below its edge device, whose scope survives an update', async () => {
  const { responseBody: edge } = await owner.create({ deviceId: 'edge', capabilities: { iotEdge: true } });
  const { responseBody: leaf } = await owner.create({ deviceId: 'leaf', deviceScope: edge.deviceScope });
  assert.deepEqual(leaf.parentScopes, [edge.deviceScope]);
  const { responseBody: updated } = await owner.update({ ...edge, status: 'disabled' });
  assert.equal(updated.deviceScope, edge.deviceScope);
});

test('statistics: the devices are counted', async () => {
  const { responseBody: counted } = await owner.getRegistryStatistics();
  assert.equal(counted.totalDeviceCount, counted.enabledDeviceCount + counted.disabledDeviceCount);
  assert.ok(counted.totalDeviceCount > 0);
});
