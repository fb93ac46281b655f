'use strict';

// The module client over both transports, and on an IoT Edge device, whose
// daemon a small server plays.

const assert = require('node:assert/strict');
const { createHmac } = require('node:crypto');
const { readFileSync } = require('node:fs');
const http = require('node:http');
const { once } = require('node:events');
const { NoRetry, results } = require('azure-iot-common');
const {
  IotEdgeAuthenticationProvider, Message, ModuleClient, SharedAccessKeyAuthenticationProvider,
  SharedAccessSignature, SharedAccessSignatureAuthenticationProvider,
} = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { test, serviceRegistry, openTwin, report, desiredUpdates } = require('./hub');
const { transports, hosts, register, registerModule, connectionOf, clientOf } = require('./identities');
const { callsOf } = require('./emulator');
const { called } = require('./wait');

const owner = serviceRegistry('iothubowner');

const keyOf = ({ authentication }) => authentication.symmetricKey.primaryKey;
const tokenOf = (module, host) => SharedAccessSignature.create(
  host, `${module.deviceId}/modules/${module.moduleId}`, keyOf(module), Math.floor(Date.now() / 1000) + 60,
).toString();
const reported = async ({ deviceId, moduleId }) => (await owner.getModuleTwin(deviceId, moduleId)).responseBody.properties.reported;

async function newModule(deviceId) {
  await register(owner, deviceId);
  return registerModule(owner, deviceId, 'arm');
}

// worksAs fails unless the client is connected as the module.
async function worksAs(client, module) {
  try {
    await report(await openTwin(client), { here: module.deviceId });
  } finally {
    await client.close();
  }
  assert.equal((await reported(module)).here, module.deviceId);
}

for (const [transport, Transport] of Object.entries(transports)) {
  const host = hosts[transport];
  const id = (what) => `${what}-${transport.toLowerCase()}`;
  const connected = async (module, run) => {
    const client = clientOf(module, transport);
    try {
      await client.open();
      return await run(client);
    } finally {
      await client.close();
    }
  };

  test(`${transport}: a module has a twin of its own`, async () => {
    const module = await newModule(id('twin'));
    await connected(module, async (client) => {
      const twin = await client.getTwin();
      const updates = await desiredUpdates(twin);
      await owner.updateModuleTwin(module.deviceId, 'arm', { properties: { desired: { rate: 5 } } }, '*');
      await updates.next((delta) => delta.rate === 5, 'its own desired change');
      await owner.updateTwin(module.deviceId, { properties: { desired: { rate: 6 } } }, '*');
      await report(twin, { speed: 7 });
      assert.equal((await reported(module)).speed, 7);
      assert.ok(updates.seen.every((delta) => delta.rate !== 6), 'the device\'s is none of its business');
    });
  });

  test(`${transport}: a module sends telemetry and to its outputs`, async () => {
    const module = await newModule(id('telemetry'));
    await connected(module, async (client) => {
      const before = await callsOf('mqttTelemetry');
      assert.ok(await client.sendEvent(new Message('reading')) instanceof results.MessageEnqueued);
      assert.ok(await client.sendOutputEvent('alerts', new Message('too hot')) instanceof results.MessageEnqueued);
      await called(client, 'sendOutputEvent', 'alerts', new Message('too cold'));
      assert.equal(await callsOf('mqttTelemetry'), before + 3);
      for (const batch of [(...done) => client.sendEventBatch([new Message('a')], ...done),
        (...done) => client.sendOutputEventBatch('alerts', [new Message('a')], ...done)]) {
        await assert.rejects(batch(), { name: 'NotImplementedError' });
        assert.throws(() => batch(() => {}), { name: 'NotImplementedError' });
      }
    });
  });

  test(`${transport}: a module listens at its inputs, settles, and stops listening`, async () => {
    const module = await newModule(id('inputs'));
    await connected(module, async (client) => {
      const listen = () => assert.fail('nothing is routed here');
      client.on('inputMessage', listen);
      await client.getTwin(); // its answer comes after the subscription's
      assert.ok(await client.complete(new Message('a')) instanceof results.MessageCompleted);
      await assert.rejects(client.reject(new Message('a')), { name: 'NotImplementedError' });
      await assert.rejects(client.abandon(new Message('a')), { name: 'NotImplementedError' });
      client.removeListener('inputMessage', listen);
      await client.getTwin(); // the hub did not hang up
    });
  });

  test(`${transport}: a module signs in with a token, and replaces it`, async () => {
    const module = await newModule(id('token'));
    const client = ModuleClient.fromSharedAccessSignature(tokenOf(module, host), Transport);
    await client.open();
    const [updated] = await called(client, 'updateSharedAccessSignature', tokenOf(module, host));
    assert.ok(updated instanceof results.SharedAccessSignatureUpdated);
    await worksAs(client, module);
    const provider = SharedAccessSignatureAuthenticationProvider.fromSharedAccessSignature(tokenOf(module, host));
    await worksAs(ModuleClient.fromAuthenticationProvider(provider, Transport), module);
  });
}

test('options and retry policies are taken', async () => {
  const module = await newModule('optioned');
  const provider = SharedAccessKeyAuthenticationProvider.fromConnectionString(connectionOf(module));
  const client = ModuleClient.fromAuthenticationProvider(provider, Mqtt);
  client.setRetryPolicy(new NoRetry());
  await client.setOptions({ keepalive: 30, productInfo: 'conformance' });
  await client.setTransportOptions({ interval: 1 });
  await called(client, 'setTransportOptions', { interval: 1 });
  await worksAs(client, module);
});

test('a module cannot sign in with its device\'s key, nor without one', async () => {
  const device = await register(owner, 'keyless');
  await registerModule(owner, 'keyless', 'arm');
  const client = clientOf({ ...device, moduleId: 'arm' });
  await assert.rejects(client.open(), { name: 'UnauthorizedError' });
  const certified = `HostName=${hosts.TCP};DeviceId=keyless;ModuleId=arm;x509=true`;
  assert.throws(() => ModuleClient.fromConnectionString(certified, Mqtt), { name: 'NotImplementedError' });
});

test('methods of others are IoT Edge\'s to call: IoT Hub does not take the module\'s request', async () => {
  const module = await newModule('caller');
  const connection = `${connectionOf(module)};GatewayHostName=${process.env.HUB_HOST}`;
  const provider = SharedAccessKeyAuthenticationProvider.fromConnectionString(connection);
  const client = ModuleClient.fromAuthenticationProvider(provider, Mqtt);
  const params = { methodName: 'reboot', payload: null, responseTimeoutInSeconds: 5, connectTimeoutInSeconds: 0 };
  await assert.rejects(client.invokeMethod('caller', 'arm', params), { name: 'UnauthorizedError' });
  await assert.rejects(called(client, 'invokeMethod', 'caller', params), { name: 'UnauthorizedError' });
  provider.stop(); // the client does not, since it was never connected
});

// withEnvironment runs with variables that are gone afterwards.
async function withEnvironment(variables, run) {
  Object.assign(process.env, variables);
  try {
    return await run();
  } finally {
    Object.keys(variables).forEach((name) => delete process.env[name]);
  }
}

test('the environment: a connection string, and an authority to trust', async () => {
  const module = await newModule('from-environment');
  await withEnvironment({ IotHubConnectionString: connectionOf(module) }, async () =>
    worksAs(await ModuleClient.fromEnvironment(Mqtt), module));
  const variables = { EdgeHubConnectionString: connectionOf(module), EdgeModuleCACertificateFile: process.env.NODE_EXTRA_CA_CERTS };
  await withEnvironment(variables, async () => worksAs((await called(ModuleClient, 'fromEnvironment', Mqtt))[0], module));
});

// withDaemon plays the daemon of an IoT Edge device: it signs with the module's
// key, which the module itself does not have, and says whom to trust.
async function withDaemon(module, run) {
  const asked = [];
  const daemon = http.createServer(async (request, response) => {
    asked.push(`${request.method} ${request.url.split('?')[0]}`);
    const answer = (document) => response.setHeader('Content-Type', 'application/json').end(JSON.stringify(document));
    if (request.method === 'GET') {
      return answer({ certificate: readFileSync(process.env.NODE_EXTRA_CA_CERTS, 'utf8') });
    }
    const { data } = JSON.parse(Buffer.concat(await request.toArray()));
    const digest = createHmac('sha256', Buffer.from(keyOf(module), 'base64')).update(Buffer.from(data, 'base64')).digest('base64');
    return answer({ digest });
  });
  daemon.listen(0, '127.0.0.1');
  await once(daemon, 'listening');
  try {
    await run(`http://127.0.0.1:${daemon.address().port}`);
  } finally {
    daemon.close();
  }
  return asked;
}

test('the environment: an IoT Edge device', async () => {
  const module = await newModule('on-edge');
  const asked = await withDaemon(module, (workloadUri) => withEnvironment({
    IOTEDGE_WORKLOADURI: workloadUri, IOTEDGE_DEVICEID: module.deviceId, IOTEDGE_MODULEID: 'arm',
    IOTEDGE_IOTHUBHOSTNAME: hosts.TCP, IOTEDGE_AUTHSCHEME: 'sasToken', IOTEDGE_MODULEGENERATIONID: module.generationId,
  }, async () => worksAs(await ModuleClient.fromEnvironment(Mqtt), module)));
  assert.deepEqual(asked, ['GET /trust-bundle', `POST /modules/arm/genid/${module.generationId}/sign`]);
  await assert.rejects(ModuleClient.fromEnvironment(Mqtt), ReferenceError);
});

test('an IoT Edge device\'s daemon signs the tokens', async () => {
  const module = await newModule('signed-by-daemon');
  await withDaemon(module, async (workloadUri) => {
    const provider = new IotEdgeAuthenticationProvider({
      workloadUri, deviceId: module.deviceId, moduleId: 'arm', iothubHostName: hosts.TCP,
      authScheme: 'sasToken', generationId: module.generationId,
    });
    assert.match((await called(provider, 'getTrustBundle'))[0], /BEGIN CERTIFICATE/);
    provider.setTokenRenewalValues(120, 30);
    assert.match((await provider.getDeviceCredentials()).sharedAccessSignature, /^SharedAccessSignature sr=/);
    provider.stop();
    await worksAs(ModuleClient.fromAuthenticationProvider(provider, Mqtt), module);
  });
  const inherited = IotEdgeAuthenticationProvider.fromConnectionString(connectionOf(module));
  assert.ok(inherited instanceof SharedAccessKeyAuthenticationProvider);
});
