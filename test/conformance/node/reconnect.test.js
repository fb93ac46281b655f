'use strict';

// What becomes of a device's connection when the network or the hub cuts it, by
// the package's own retry policies, over both transports.

const assert = require('node:assert/strict');
const { Client: ServiceClient } = require('azure-iothub');
const { NoRetry, results } = require('azure-iot-common');
const { Client, Message, SharedAccessKeyAuthenticationProvider } = require('azure-iot-device');
const { test, serviceRegistry, openTwin, report, desiredUpdates } = require('./hub');
const { transports, hosts, register, connectionOf, clientOf } = require('./identities');
const { callsOf, sendToDevice, withFault } = require('./emulator');
const { happens, eventually, called } = require('./wait');

const owner = serviceRegistry('iothubowner');
const service = ServiceClient.fromConnectionString(JSON.parse(process.env.HUB_SERVICE_CONNECTIONS).service);

// cut ends a device's connection as a network does that fails.
const cut = (deviceId) => withFault({ operation: 'getDevice', deviceId, action: 'mqttDrop' }, () => owner.get(deviceId));

for (const [transport, Transport] of Object.entries(transports)) {
  const id = (what) => `${what}-${transport.toLowerCase()}`;
  const newClient = (identity) => clientOf(identity, transport);

  test(`${transport}: after a cut the client comes back to all that it listened to`, async () => {
    const identity = await register(owner, id('listener'));
    const { deviceId } = identity;
    const client = newClient(identity);
    try {
      const commands = [];
      client.on('message', (message) => commands.push(message.getData().toString()));
      client.onDeviceMethod('hello', (request, response) => response.send(200, 'here'));
      const twin = await openTwin(client);
      const updates = await desiredUpdates(twin);
      await cut(deviceId);
      await happens(client, 'connect');

      const call = { methodName: 'hello', responseTimeoutInSeconds: 20, connectTimeoutInSeconds: 10 };
      assert.equal((await service.invokeDeviceMethod(deviceId, call)).result.payload, 'here');
      await owner.updateTwin(deviceId, { properties: { desired: { rate: 5 } } }, '*');
      await updates.next((delta) => delta.rate === 5, 'a desired change after the cut');
      await report(twin, { back: true });
      assert.equal((await twin.get()).properties.reported.back, true);
      await sendToDevice(deviceId, { body: 'after the cut' });
      await eventually('commands', () => commands, ([first]) => first === 'after the cut');
    } finally {
      await client.close();
    }
  });

  test(`${transport}: what was being sent when the connection was cut is sent again`, async () => {
    const identity = await register(owner, id('sender'));
    const client = newClient(identity);
    try {
      await client.open();
      const before = await callsOf('mqttTelemetry');
      const fault = { operation: 'mqttTelemetry', deviceId: identity.deviceId, action: 'mqttDrop', count: 1 };
      await withFault(fault, () => client.sendEvent(new Message('again')));
      assert.equal(await callsOf('mqttTelemetry'), before + 2);
    } finally {
      await client.close();
    }
  });

  test(`${transport}: a client that does not try again says so`, async () => {
    const identity = await register(owner, id('resigned'));
    const client = newClient(identity);
    client.setRetryPolicy(new NoRetry());
    await client.open();
    const disconnected = happens(client, 'disconnect');
    await cut(identity.deviceId);
    assert.ok((await disconnected)[0] instanceof results.Disconnected);
    await client.close();
  });

  test(`${transport}: a hub that is unavailable is asked again`, async () => {
    const identity = await register(owner, id('patient'));
    const client = newClient(identity);
    const fault = { operation: 'mqttConnect', deviceId: identity.deviceId, action: 'status', status: 503, count: 2 };
    await withFault(fault, () => client.open());
    await client.sendEvent(new Message('in the end'));
    await client.close();
  });

  test(`${transport}: a second client of the same device ends the first one's connection`, async () => {
    const identity = await register(owner, id('twice'));
    const [first, second] = [newClient(identity), newClient(identity)];
    first.setRetryPolicy(new NoRetry());
    await first.open();
    const disconnected = happens(first, 'disconnect');
    await second.open();
    await disconnected;
    await second.sendEvent(new Message('the second is there'));
    assert.equal((await owner.get(identity.deviceId)).responseBody.connectionState, 'Connected');
    await Promise.all([first.close(), second.close()]);
  });

  for (const [what, end] of Object.entries({
    disabled: (identity) => owner.update({ ...identity, status: 'disabled' }),
    deleted: ({ deviceId }) => owner.delete(deviceId),
    'given new keys': ({ deviceId }) => owner.update({ deviceId }),
  })) {
    test(`${transport}: a device that is ${what} is cut off`, async () => {
      const identity = await register(owner, id(what.split(' ').join('-')));
      const client = newClient(identity);
      client.setRetryPolicy(new NoRetry());
      await client.open();
      const disconnected = happens(client, 'disconnect');
      await end(identity);
      await disconnected;
      await assert.rejects(client.open());
      await client.close();
    });
  }

  test(`${transport}: refusals of a twin's requests are told`, async () => {
    const identity = await register(owner, id('refused'));
    const client = newClient(identity);
    try {
      const twin = await openTwin(client);
      twin.setRetryPolicy(new NoRetry());
      await assert.rejects(report(twin, { 'a.b': 1 }), /invalid characters/);
      const large = Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`s${i}`, 'x'.repeat(4000)]));
      await assert.rejects(report(twin, large), /32768/);
      const throttled = { operation: 'mqttTwinGet', deviceId: identity.deviceId, action: 'status', status: 429, count: 1 };
      await withFault(throttled, () => assert.rejects(twin.get(), /Too Many Requests/));
      await report(twin, { still: 'here' });
    } finally {
      await client.close();
    }
  });

  test(`${transport}: subscriptions that the transport ends are ended at the hub`, async () => {
    const identity = await register(owner, id('quiet'));
    const { deviceId } = identity;
    const provider = SharedAccessKeyAuthenticationProvider.fromConnectionString(connectionOf(identity, hosts[transport]));
    const mqtt = new Transport(provider);
    const client = new Client(mqtt);
    try {
      client.onDeviceMethod('hello', (request, response) => response.send(200));
      const twin = await openTwin(client);
      await desiredUpdates(twin);
      await called(mqtt, 'disableTwinDesiredPropertiesUpdates');
      await called(mqtt, 'disableMethods');
      mqtt.on('twinDesiredPropertiesUpdate', () => assert.fail('the hub went on'));
      await owner.updateTwin(deviceId, { properties: { desired: { rate: 5 } } }, '*');
      await assert.rejects(
        service.invokeDeviceMethod(deviceId, { methodName: 'hello' }),
        (err) => err.response.headers['iothub-errorcode'] === 'DeviceNotOnline',
      );
      await report(twin, { quiet: true }); // what the hub had sent would have come by now
    } finally {
      await client.close();
    }
  });
}
