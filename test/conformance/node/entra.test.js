'use strict';

// The service package's clients with Entra ID's tokens instead of keys, which
// Microsoft's identity package gets them at the hub's own issuer.

const assert = require('node:assert/strict');
const { ClientAssertionCredential } = require('@azure/identity');
const { Client, JobClient, Registry } = require('azure-iothub');
const { test } = require('./hub');

const host = process.env.HUB_HOST;
const deviceId = process.env.HUB_DEVICE_ID;
const applications = JSON.parse(process.env.HUB_ENTRA_APPLICATIONS);

// assertion is what a cluster gives to a pod, but for its signature, which this
// issuer does not ask for.
async function assertion() {
  const now = Math.floor(Date.now() / 1000);
  const part = (content) => Buffer.from(content).toString('base64url');
  const claims = { sub: process.env.HUB_ENTRA_SUBJECT, aud: 'api://AzureADTokenExchange', iat: now, nbf: now, exp: now + 60 };
  return [part('{"alg":"RS256","typ":"JWT"}'), part(JSON.stringify(claims)), part('unsigned')].join('.');
}

const credentialOf = (role) => new ClientAssertionCredential(process.env.AZURE_TENANT_ID, applications[role], assertion, {
  authorityHost: process.env.AZURE_AUTHORITY_HOST, disableInstanceDiscovery: true,
});
const unauthorized = { name: 'UnauthorizedError' };

test('a contributor of data reads and writes identities and twins', async () => {
  const registry = Registry.fromTokenCredential(host, credentialOf('IoT Hub Data Contributor'));
  await registry.create({ deviceId: 'by-token' });
  await registry.updateTwin('by-token', { tags: { made: 'by token' } }, '*');
  const { result } = await registry.createQuery("SELECT * FROM devices WHERE tags.made = 'by token'").nextAsTwin();
  assert.deepEqual(result.map((twin) => twin.deviceId), ['by-token']);
  await registry.delete('by-token');
});

test('a contributor of data calls methods', async () => {
  const client = Client.fromTokenCredential(host, credentialOf('IoT Hub Data Contributor'));
  await assert.rejects(
    client.invokeDeviceMethod(deviceId, { methodName: 'reboot' }),
    (err) => err.response.headers['iothub-errorcode'] === 'DeviceNotOnline',
  );
});

test('a contributor of data schedules, reads and cancels jobs, one of the registry does not', async () => {
  const jobs = JobClient.fromTokenCredential(host, credentialOf('IoT Hub Data Contributor'));
  const later = new Date(Date.now() + 3_600_000);
  const { jobStatus } = await jobs.scheduleTwinUpdate('by-token', '*', { etag: '*', tags: { made: 'by token' } }, later, 60);
  assert.equal(jobStatus.jobId, 'by-token');
  await assert.rejects(
    JobClient.fromTokenCredential(host, credentialOf('IoT Hub Registry Contributor')).getJob('by-token'),
    unauthorized,
  );
  assert.equal((await jobs.cancelJob('by-token')).jobStatus.status, 'cancelled');
});

test('a contributor of the registry has no twins and calls no methods', async () => {
  const credential = credentialOf('IoT Hub Registry Contributor');
  const registry = Registry.fromTokenCredential(host, credential);
  assert.equal((await registry.get(deviceId)).responseBody.deviceId, deviceId);
  await assert.rejects(registry.getTwin(deviceId), unauthorized);
  await assert.rejects(Client.fromTokenCredential(host, credential).invokeDeviceMethod(deviceId, { methodName: 'reboot' }), unauthorized);
});

test('a contributor of the resource has no data', async () => {
  const registry = Registry.fromTokenCredential(host, credentialOf('Contributor'));
  await assert.rejects(registry.get(deviceId), unauthorized);
});

test('a token for another resource is refused, and one that is none', async () => {
  const credential = credentialOf('IoT Hub Data Contributor');
  const elsewhere = { getToken: () => credential.getToken('https://management.azure.com/.default') };
  await assert.rejects(Registry.fromTokenCredential(host, elsewhere).get(deviceId), unauthorized);
  const made = { getToken: async () => ({ token: 'made.up.token', expiresOnTimestamp: Date.now() + 3_600_000 }) };
  await assert.rejects(Registry.fromTokenCredential(host, made).get(deviceId), unauthorized);
});
