'use strict';

// Digital twins from both ends: the service package reads, changes and calls
// them, the device package says which model it implements, reports by the
// conventions of Plug and Play and answers commands.

const assert = require('node:assert/strict');
const { DigitalTwinClient, IoTHubTokenCredentials } = require('azure-iothub');
const { test, serviceRegistry, deviceClient, openTwin, report, desiredUpdates } = require('./hub');
const { register, connectionOf } = require('./identities');
const { called } = require('./wait');

const model = 'dtmi:com:example:TemperatureController;1';
const owner = serviceRegistry('iothubowner');
const connections = JSON.parse(process.env.HUB_SERVICE_CONNECTIONS);
const clientOf = (policy) => new DigitalTwinClient(new IoTHubTokenCredentials(connections[policy]));
const twins = clientOf('service');
const patience = { responseTimeoutInSeconds: 20, connectTimeoutInSeconds: 10 };

// updated updates a digital twin and returns the headers of the answer, which the
// package gives to a callback only: the answer has no body to attach them to.
async function updated(...args) {
  const [, response] = await called(twins, 'updateDigitalTwin', ...args);
  assert.equal(response.status, 202);
  return response.parsedHeaders;
}

// implementing runs while a device of the model is connected.
async function implementing(deviceId, run) {
  const client = deviceClient(connectionOf(await register(owner, deviceId)));
  await client.setOptions({ modelId: model });
  try {
    return await run(client, await openTwin(client));
  } finally {
    await client.close();
  }
}

test('a device that has not said anything', async () => {
  await register(owner, 'silent');
  const twin = await twins.getDigitalTwin('silent');
  assert.equal(twin.$dtId, 'silent');
  assert.deepEqual(twin.$metadata, { $model: '' });
  assert.equal(twin._response.parsedHeaders.eTag, `"${(await owner.getTwin('silent')).responseBody.etag}"`);
});

test('the model is the one that the device announces', () => implementing('announces', async () => {
  assert.equal((await twins.getDigitalTwin('announces')).$metadata.$model, model);
  assert.equal((await owner.getTwin('announces')).responseBody.modelId, model);
}));

test('properties and components: written, told to the device, acknowledged and read', () =>
  implementing('controller', async (client, twin) => {
    const updates = await desiredUpdates(twin);
    const first = await updated('controller', [
      { op: 'add', path: '/fanSpeed', value: 2 },
      { op: 'add', path: '/thermostat1', value: { targetTemperature: 21.8, $metadata: {} } },
    ]);
    assert.match(first.location, /^https:\/\/.*\/digitaltwins\/controller$/);
    const { $version: version, ...told } = await updates.next((each) => each.thermostat1, 'the component');
    assert.deepEqual(told, { fanSpeed: 2, thermostat1: { __t: 'c', targetTemperature: 21.8 } });

    await report(twin, {
      serialNumber: 'a1',
      thermostat1: { __t: 'c', targetTemperature: { value: 21.8, ac: 200, av: version, ad: 'done' } },
    });
    const [digital, response] = await called(twins, 'getDigitalTwin', 'controller');
    assert.equal(digital.serialNumber, 'a1');
    assert.equal(response.parsedHeaders.eTag, first.eTag);
    assert.equal(digital.thermostat1.targetTemperature, 21.8);
    const { lastUpdateTime, ...state } = digital.thermostat1.$metadata.targetTemperature;
    assert.deepEqual(state, {
      desiredValue: 21.8, desiredVersion: version, ackVersion: version, ackCode: 200, ackDescription: 'done',
    });
    assert.ok(Date.parse(lastUpdateTime) > 0);
    assert.deepEqual(digital.$metadata.fanSpeed, { desiredValue: 2, desiredVersion: version });
  }));

test('an update is refused with a stale etag', async () => {
  await register(owner, 'contended');
  const patch = [{ op: 'replace', path: '/fanSpeed', value: 1 }];
  const fresh = (await twins.getDigitalTwin('contended'))._response.parsedHeaders.eTag;
  const { eTag: second } = await updated('contended', patch, fresh);
  await assert.rejects(twins.updateDigitalTwin('contended', patch, fresh), (err) => err.statusCode === 412);
  await twins.updateDigitalTwin('contended', [{ op: 'remove', path: '/fanSpeed' }], second);
  await updated('contended', patch);
  await twins.updateDigitalTwin('contended', patch, '*');
});

test('refusals', async () => {
  await register(owner, 'refused');
  const refused = (call, status, code) => assert.rejects(
    call, (err) => err.statusCode === status && err.response.headers.get('iothub-errorcode') === code,
  );
  await refused(twins.getDigitalTwin('missing'), 404, 'DeviceNotFound');
  await refused(twins.updateDigitalTwin('refused', [{ op: 'add', path: 'fanSpeed', value: 1 }]), 400, 'InvalidDigitalTwinPatch');
  await refused(twins.updateDigitalTwin('refused', [{ op: 'add', path: '/list', value: [1] }]), 400, 'InvalidDigitalTwinPayload');
  await refused(clientOf('registryReadWrite').getDigitalTwin('refused'), 401, 'IotHubUnauthorizedAccess');
  await refused(twins.invokeCommand('refused', 'reboot', {}), 404, 'DeviceNotOnline');
  await refused(twins.invokeCommand('refused', 'reboot', {}, { responseTimeoutInSeconds: 1 }), 400, 'ArgumentInvalid');
});

test('commands of a device and of a component', () => implementing('commanded', async (client, twin) => {
  client.onDeviceMethod('reboot', (request, response) => response.send(200, { in: request.payload }));
  client.onDeviceMethod('thermostat1*getMaxMinReport', (request, response) => response.send(404, [request.methodName]));
  await report(twin, { listening: true }); // its answer comes after the subscription's
  const rebooted = await twins.invokeCommand('commanded', 'reboot', { delay: 3 }, patience);
  assert.deepEqual(rebooted.body, { in: { delay: 3 } });
  assert.equal(rebooted.xMsCommandStatuscode, 200);
  assert.match(rebooted.xMsRequestId, /^[0-9a-f-]{36}$/);
  const reported = await twins.invokeComponentCommand('commanded', 'thermostat1', 'getMaxMinReport', '2026-11-20T10:20:30Z', patience);
  assert.deepEqual(reported.body, ['thermostat1*getMaxMinReport']);
  assert.equal(reported.xMsCommandStatuscode, 404, 'the status is the device’s, the call succeeded');
}));
