'use strict';

// How devices sign in: with keys, tokens and certificates, how they renew their
// tokens, and what they may set before they connect.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { NoRetry, results } = require('azure-iot-common');
const {
  Client, ConnectionString, SharedAccessKeyAuthenticationProvider, SharedAccessSignature,
  SharedAccessSignatureAuthenticationProvider, X509AuthenticationProvider, getUserAgentString,
} = require('azure-iot-device');
const { Mqtt, clientFromConnectionString } = require('azure-iot-device-mqtt');
const { test, serviceRegistry, openTwin, report } = require('./hub');
const { transports, hosts, register, connectionOf, clientOf } = require('./identities');
const { callsOf } = require('./emulator');
const { happens, called } = require('./wait');

const owner = serviceRegistry('iothubowner');
const certificate = { cert: process.env.HUB_DEVICE_CERTIFICATE, key: process.env.HUB_DEVICE_KEY };

const inSeconds = (seconds) => Math.floor(Date.now() / 1000) + seconds;
const tokenOf = ({ deviceId, authentication }, host = hosts.TCP, seconds = 60) => SharedAccessSignature.create(
  host, deviceId, authentication.symmetricKey.primaryKey, inSeconds(seconds),
).toString();

// worksAs fails unless the client is connected as the device.
async function worksAs(client, deviceId) {
  try {
    await report(await openTwin(client), { here: deviceId });
  } finally {
    await client.close();
  }
  assert.equal((await owner.getTwin(deviceId)).responseBody.properties.reported.here, deviceId);
}

test('connection strings: made and read', () => {
  const keyed = ConnectionString.parse(ConnectionString.createWithSharedAccessKey('hub.example', 'd1', 'a2V5'));
  assert.deepEqual([keyed.HostName, keyed.DeviceId, keyed.SharedAccessKey], ['hub.example', 'd1', 'a2V5']);
  const certified = ConnectionString.parse(ConnectionString.createWithX509Certificate('hub.example', 'd1'));
  assert.deepEqual([certified.HostName, certified.DeviceId, certified.x509], ['hub.example', 'd1', 'true']);
  assert.throws(() => ConnectionString.parse('HostName=hub.example'), { name: 'ArgumentError' });
});

test('tokens: made, read back and extended', () => {
  const token = SharedAccessSignature.create('hub.example', 'd1', 'a2V5', 1_700_000_000);
  const read = SharedAccessSignature.parse(token.toString());
  assert.deepEqual([read.sr, read.se, read.sig], ['hub.example%2Fdevices%2Fd1', '1700000000', token.sig]);
  assert.equal(SharedAccessSignature.parse(token.extend(1_700_000_060)).se, '1700000060');
});

test('the MQTT package makes a client by itself', async () => {
  const identity = await register(owner, 'made-by-mqtt');
  await worksAs(clientFromConnectionString(connectionOf(identity)), identity.deviceId);
});

for (const [transport, Transport] of Object.entries(transports)) {
  const host = hosts[transport];
  const id = (what) => `${what}-${transport.toLowerCase()}`;

  test(`${transport}: a token that was made elsewhere`, async () => {
    const identity = await register(owner, id('token'));
    await worksAs(Client.fromSharedAccessSignature(tokenOf(identity, host), Transport), identity.deviceId);
    const written = `HostName=${host};DeviceId=${identity.deviceId};SharedAccessSignature=${tokenOf(identity, host)}`;
    await worksAs(Client.fromConnectionString(written, Transport), identity.deviceId);
  });

  test(`${transport}: the secondary key`, async () => {
    const identity = await register(owner, id('secondary'));
    const { secondaryKey } = identity.authentication.symmetricKey;
    const connection = ConnectionString.createWithSharedAccessKey(host, identity.deviceId, secondaryKey);
    await worksAs(Client.fromConnectionString(connection, Transport), identity.deviceId);
  });

  test(`${transport}: a token is replaced on a connection that stands`, async () => {
    const identity = await register(owner, id('replaced'));
    const client = Client.fromSharedAccessSignature(tokenOf(identity, host), Transport);
    await client.open();
    const [updated] = await called(client, 'updateSharedAccessSignature', tokenOf(identity, host, 120));
    assert.ok(updated instanceof results.SharedAccessSignatureUpdated);
    await worksAs(client, identity.deviceId);
  });

  test(`${transport}: a certificate`, async () => {
    const deviceId = id('certified');
    await register(owner, deviceId, {
      authentication: { x509Thumbprint: { primaryThumbprint: process.env.HUB_DEVICE_THUMBPRINT } },
    });
    const client = Client.fromConnectionString(ConnectionString.createWithX509Certificate(host, deviceId), Transport);
    await client.setOptions(certificate);
    await worksAs(client, deviceId);
    const provider = X509AuthenticationProvider.fromX509Options(deviceId, host, certificate);
    provider.setX509Options(certificate);
    assert.equal((await provider.getDeviceCredentials()).x509.cert, certificate.cert);
    await worksAs(Client.fromAuthenticationProvider(provider, Transport), deviceId);
  });

  test(`${transport}: a certificate that is not the device's`, async () => {
    const deviceId = id('uncertified');
    await register(owner, deviceId, { authentication: { x509Thumbprint: { primaryThumbprint: 'A'.repeat(40) } } });
    const client = Client.fromConnectionString(ConnectionString.createWithX509Certificate(host, deviceId), Transport);
    await client.setOptions(certificate);
    await assert.rejects(client.open(), { name: 'UnauthorizedError' });
  });
}

test('a connection outlives its tokens, which are renewed in time', async () => {
  const identity = await register(owner, 'renewed');
  const provider = SharedAccessKeyAuthenticationProvider.fromConnectionString(connectionOf(identity), 6, 5);
  const client = Client.fromAuthenticationProvider(provider, Mqtt);
  client.setRetryPolicy(new NoRetry());
  client.on('disconnect', () => assert.fail('the hub hung up'));
  const twin = await openTwin(client);
  const before = await callsOf('mqttConnect');
  for (let renewals = 0; renewals < 4; renewals++) { // one a second
    await happens(provider, 'newTokenAvailable');
  }
  await report(twin, { still: 'here' });
  assert.ok(await callsOf('mqttConnect') >= before + 3);
  client.removeAllListeners('disconnect');
  await client.close();
});

test('a token that is not renewed ends the connection', async () => {
  const identity = await register(owner, 'expired');
  const client = Client.fromSharedAccessSignature(tokenOf(identity, hosts.TCP, 4), Mqtt);
  client.setRetryPolicy(new NoRetry());
  await client.open();
  const [reason] = await happens(client, 'disconnect');
  assert.ok(reason instanceof results.Disconnected);
  await client.close();
});

test('a token from a provider of one\'s own', async () => {
  const identity = await register(owner, 'provided');
  const provider = SharedAccessSignatureAuthenticationProvider.fromSharedAccessSignature(tokenOf(identity));
  const { deviceId, host } = await provider.getDeviceCredentials();
  assert.deepEqual([deviceId, host], ['provided', hosts.TCP]);
  const renewed = once(provider, 'newTokenAvailable');
  const token = tokenOf(identity, hosts.TCP, 90);
  provider.updateSharedAccessSignature(token);
  assert.equal((await renewed)[0].sharedAccessSignature, token);
  await worksAs(Client.fromAuthenticationProvider(provider, Mqtt), 'provided');
});

test('how long tokens live may be set, and the margin has to be shorter', async () => {
  const identity = await register(owner, 'set-up');
  const provider = SharedAccessKeyAuthenticationProvider.fromConnectionString(connectionOf(identity));
  provider.setTokenRenewalValues(120, 30);
  const { sharedAccessSignature } = await provider.getDeviceCredentials();
  assert.ok(Math.abs(SharedAccessSignature.parse(sharedAccessSignature).se - inSeconds(120)) <= 2);
  provider.stop();
  assert.throws(() => provider.setTokenRenewalValues(30, 30), { name: 'ArgumentError' });
  const client = clientOf(identity);
  await client.setOptions({ tokenRenewal: { tokenValidTimeInSeconds: 120, tokenRenewalMarginInSeconds: 30 } });
  await worksAs(client, identity.deviceId);
});

test('options: those that the hub hears of, and those that it does not', async () => {
  const identity = await register(owner, 'optioned');
  const client = clientOf(identity);
  await client.setOptions({
    ca: process.env.NODE_EXTRA_CA_CERTS, keepalive: 30, productInfo: 'conformance', modelId: 'dtmi:com:example:Thermostat;1',
  });
  await called(client, 'setTransportOptions', { interval: 1 });
  await client.setTransportOptions({ interval: 1 });
  await worksAs(client, identity.deviceId);
  await assert.rejects(client.setOptions({ productInfo: 'too late' }), /before initiating any connection/);
  await assert.rejects(client.setOptions(certificate), { name: 'ArgumentError' });
});

test('the user agent names the package', async () => {
  assert.match(await getUserAgentString(), /^azure-iot-device\/1\.18\.4 \(/);
  assert.match(await getUserAgentString('conformance'), /\)conformance$/);
});

test('a retry policy has to be one', async () => {
  const client = Client.fromConnectionString(process.env.HUB_DEVICE_CONNECTION, Mqtt);
  assert.throws(() => client.setRetryPolicy({}), { name: 'ArgumentError' });
  assert.throws(() => client.setRetryPolicy(null), ReferenceError);
});

const refused = {
  'a key that is not the device\'s': ({ deviceId }) =>
    ConnectionString.createWithSharedAccessKey(hosts.TCP, deviceId, Buffer.alloc(32, 7).toString('base64')),
  'a device that does not exist': (identity) => connectionOf({ ...identity, deviceId: 'missing' }),
  'a token that has expired': (identity) =>
    `HostName=${hosts.TCP};DeviceId=${identity.deviceId};SharedAccessSignature=${tokenOf(identity, hosts.TCP, -1)}`,
  'a token for a device that was signed with another\'s key': (identity) =>
    `HostName=${hosts.TCP};DeviceId=x;SharedAccessSignature=${tokenOf({ ...identity, deviceId: process.env.HUB_DEVICE_ID })}`,
};
for (const [i, [what, connection]] of Object.entries(refused).entries()) {
  test(`refused: ${what}`, async () => {
    const client = Client.fromConnectionString(connection(await register(owner, `refused-${i}`)), Mqtt);
    await assert.rejects(client.open(), { name: 'UnauthorizedError' });
  });
}

test('refused: a device that is disabled', async () => {
  const identity = await register(owner, 'disabled');
  await owner.update({ ...identity, status: 'disabled' });
  await assert.rejects(clientOf(identity).open(), { name: 'UnauthorizedError' });
});
