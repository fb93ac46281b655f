'use strict';

// How the service package's clients sign in: connection strings, tokens made from
// a policy's key, and what becomes of those that the hub does not take.

const assert = require('node:assert/strict');
const { Client, ConnectionString, IoTHubTokenCredentials, Registry, SharedAccessSignature, versionQueryString } = require('azure-iothub');
const { test } = require('./hub');

const connections = JSON.parse(process.env.HUB_SERVICE_CONNECTIONS);
const owner = ConnectionString.parse(connections.iothubowner);
const deviceId = process.env.HUB_DEVICE_ID;

const inSeconds = (seconds) => Math.floor(Date.now() / 1000) + seconds;
const tokenOf = ({ HostName, SharedAccessKeyName, SharedAccessKey }, expiry = inSeconds(60)) =>
  SharedAccessSignature.create(HostName, SharedAccessKeyName, SharedAccessKey, expiry);

const unauthorized = (err) => {
  assert.equal(err.name, 'UnauthorizedError');
  assert.equal(err.response.statusCode, 401);
  assert.equal(err.response.headers['iothub-errorcode'], 'IotHubUnauthorizedAccess');
  return true;
};

test('connection strings: read, or refused when something is missing', () => {
  assert.equal(owner.HostName, process.env.HUB_HOST);
  assert.equal(owner.SharedAccessKeyName, 'iothubowner');
  assert.throws(() => ConnectionString.parse('HostName=hub.example'), { name: 'ArgumentError' });
});

test('tokens: made, written, read back and extended', () => {
  const token = tokenOf(owner, 1_700_000_000);
  const read = SharedAccessSignature.parse(token.toString());
  assert.deepEqual([read.sr, read.skn, read.se, read.sig], [owner.HostName, 'iothubowner', '1700000000', token.sig]);
  const extended = token.extend(1_700_000_060);
  assert.equal(SharedAccessSignature.parse(extended).se, '1700000060');
  assert.notEqual(SharedAccessSignature.parse(extended).sig, read.sig);
  assert.throws(() => SharedAccessSignature.parse('SharedAccessSignature sr=hub.example'), { name: 'ArgumentError' });
  assert.throws(() => SharedAccessSignature.parse('hub.example'), { name: 'FormatError' });
});

test('tokens: a registry signs in with one', async () => {
  const registry = Registry.fromSharedAccessSignature(tokenOf(owner).toString());
  assert.equal((await registry.get(deviceId)).responseBody.deviceId, deviceId);
});

test('tokens: a service client signs in with one', async () => {
  const client = Client.fromSharedAccessSignature(tokenOf(owner).toString());
  await assert.rejects(
    client.invokeDeviceMethod(deviceId, { methodName: 'reboot' }),
    (err) => err.response.headers['iothub-errorcode'] === 'DeviceNotOnline',
  );
});

test('tokens: IoTHubTokenCredentials sign a request that the hub takes', async () => {
  const credentials = new IoTHubTokenCredentials(connections.iothubowner);
  assert.equal(credentials.getHubName(), process.env.HUB_HOST);
  const { headers } = await credentials.signRequest({ headers: new Headers() });
  const registry = Registry.fromSharedAccessSignature(headers.get('authorization'));
  assert.equal((await registry.get(deviceId)).responseBody.deviceId, deviceId);
});

const refused = {
  'one that has expired': tokenOf(owner, inSeconds(-1)),
  'one of a key that is not the policy\'s': tokenOf({ ...owner, SharedAccessKey: Buffer.alloc(32, 7).toString('base64') }),
  'one of a policy that does not exist': tokenOf({ ...owner, SharedAccessKeyName: 'missing' }),
  'one of a policy that may not read identities': tokenOf(ConnectionString.parse(connections.service)),
};
for (const [what, token] of Object.entries(refused)) {
  test(`tokens: ${what} is refused`, async () => {
    await assert.rejects(Registry.fromSharedAccessSignature(token.toString()).get(deviceId), unauthorized);
  });
}

test('the package asks for version 2021-04-12 of the interface', () => {
  assert.equal(versionQueryString(), '?api-version=2021-04-12');
});
