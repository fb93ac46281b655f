'use strict';

// What devices do beyond twins: direct methods, MQTT inside a WebSocket, client
// certificates, telemetry, and messages from the cloud.

const assert = require('node:assert/strict');
const { Client: ServiceClient } = require('azure-iothub');
const { Client, Message } = require('azure-iot-device');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
const { test, serviceRegistry, openTwin, report, desiredUpdates } = require('./hub');

const deviceId = process.env.HUB_DEVICE_ID;
const registry = serviceRegistry('iothubowner');
const service = ServiceClient.fromConnectionString(JSON.parse(process.env.HUB_SERVICE_CONNECTIONS).service);
const direct = process.env.HUB_DEVICE_CONNECTION;
// A WebSocket goes to port 443, which leaves no room for a port in the name.
const overWebSocket = direct.replace(/HostName=([^:;]+):\d+/, 'HostName=$1');

const transports = {
  TCP: () => Client.fromConnectionString(direct, Mqtt),
  WebSocket: () => Client.fromConnectionString(overWebSocket, MqttWs),
};

async function withDevice(client, run) {
  try {
    await client.open();
    await run(client);
  } finally {
    await client.close();
  }
}

// serveMethod resolves when the hub knows that the device takes methods.
function serveMethod(client, name, handler) {
  client.onDeviceMethod(name, handler);
  return openTwin(client); // its answer comes after the subscription's
}

for (const [name, newClient] of Object.entries(transports)) {
  test(`${name}: a direct method reaches the device and its result comes back`, () => withDevice(newClient(), async (client) => {
    const seen = [];
    await serveMethod(client, 'reboot', (request, response) => {
      seen.push(request.payload);
      response.send(202, { after: request.payload.delay });
    });
    const { result } = await service.invokeDeviceMethod(deviceId, {
      methodName: 'reboot', payload: { delay: 3 }, responseTimeoutInSeconds: 20, connectTimeoutInSeconds: 10,
    });
    assert.deepEqual(result, { status: 202, payload: { after: 3 } });
    assert.deepEqual(seen, [{ delay: 3 }]);
  }));

  test(`${name}: twins work`, () => withDevice(newClient(), async (client) => {
    const twin = await openTwin(client);
    const updates = await desiredUpdates(twin);
    await report(twin, { transport: name }); // its answer comes after the subscription's
    assert.equal((await registry.getTwin(deviceId)).responseBody.properties.reported.transport, name);
    await registry.updateTwin(deviceId, { properties: { desired: { for: name } } }, '*');
    await updates.next((delta) => delta.for === name, 'a desired change');
  }));

  test(`${name}: telemetry is acknowledged`, () => withDevice(newClient(), async (client) => {
    const message = new Message(JSON.stringify({ temperature: 21 }));
    message.contentType = 'application/json';
    message.properties.add('alert', 'no & never');
    await client.sendEvent(message);
  }));
}

test('direct method: a device that is not connected is not found', async () => {
  await assert.rejects(
    service.invokeDeviceMethod(deviceId, { methodName: 'reboot', payload: null }),
    (err) => {
      assert.equal(err.response.statusCode, 404);
      assert.equal(err.response.headers['iothub-errorcode'], 'DeviceNotOnline');
      const inner = JSON.parse(JSON.parse(err.responseBody).Message);
      assert.equal(inner.errorCode, 404103);
      return true;
    },
  );
});

test('direct method: the time to connect is part of the time to answer', async () => {
  await assert.rejects(
    service.invokeDeviceMethod(deviceId, {
      methodName: 'reboot', payload: null, responseTimeoutInSeconds: 5, connectTimeoutInSeconds: 6,
    }),
    (err) => err.name === 'ArgumentError' && err.response.statusCode === 400,
  );
});

for (const [name, transport] of [['TCP', Mqtt], ['WebSocket', MqttWs]]) {
  test(`${name}: a device signs in with a certificate`, async () => {
    const id = `x509-${name.toLowerCase()}`;
    await registry.create({
      deviceId: id,
      authentication: { type: 'selfSigned', x509Thumbprint: { primaryThumbprint: process.env.HUB_DEVICE_THUMBPRINT } },
    });
    const host = /HostName=([^;]+)/.exec(name === 'TCP' ? direct : overWebSocket)[1];
    const client = Client.fromConnectionString(`HostName=${host};DeviceId=${id};x509=true`, transport);
    client.setOptions({ cert: process.env.HUB_DEVICE_CERTIFICATE, key: process.env.HUB_DEVICE_KEY });
    await withDevice(client, async () => {
      await report(await openTwin(client), { signedIn: true });
    });
    assert.equal((await registry.getTwin(id)).responseBody.properties.reported.signedIn, true);
  });
}
