'use strict';

// Automatic device management and IoT Edge deployments, as the service package
// reaches them.

const assert = require('node:assert/strict');
const { IoTHubTokenCredentials } = require('azure-iothub');
// The registry has no method for it, but the client below it has.
const { IotHubGatewayServiceAPIs } = require('azure-iothub/dist/pl/iotHubGatewayServiceAPIs');
const { test, serviceRegistry, deviceClient, openTwin, desiredUpdates } = require('./hub');

const owner = serviceRegistry('iothubowner');

const chiller = (id, more) => ({
  id,
  labels: { HostPlatform: 'Linux' },
  content: { deviceContent: { 'properties.desired.chiller': { temperature: 66 } } },
  targetCondition: `deviceId = '${process.env.HUB_DEVICE_ID}'`,
  priority: 10,
  ...more,
});

// evaluate does what the hub does every few minutes.
async function evaluate() {
  const response = await fetch(`${process.env.HUB_ADMIN_URL}/configurations/evaluate`, { method: 'POST' });
  assert.equal(response.status, 200);
  return response.json();
}

test('configurations: added, read, listed, updated and removed', async () => {
  const { responseBody: added } = await owner.addConfiguration(chiller('life'));
  assert.equal(added.etag, 'MQ==');
  assert.equal(added.schemaVersion, '1.0');
  assert.equal(added.systemMetrics.queries.appliedCount, "select deviceId from devices where configurations.[[life]].status = 'Applied'");
  await assert.rejects(owner.addConfiguration(chiller('life')), (err) => (
    err.response.statusCode === 409 && err.responseBody.includes('ConfigurationAlreadyExists')
  ));
  const { responseBody: read } = await owner.getConfiguration('life');
  assert.deepEqual(read, added);
  const { responseBody: listed } = await owner.getConfigurations();
  assert.deepEqual(listed.filter(({ id }) => id === 'life'), [read]);

  const { responseBody: updated } = await owner.updateConfiguration({ ...read, priority: 11 });
  assert.equal(updated.priority, 11);
  assert.equal(updated.etag, 'Mg==');
  await assert.rejects(owner.updateConfiguration({ ...read, priority: 12 }), { name: 'InvalidEtagError' });
  const other = { ...read, content: { deviceContent: { 'properties.desired.other': 1 } } };
  const { responseBody: forced } = await owner.updateConfiguration(other, true);
  assert.deepEqual(forced.content, read.content, 'the content never changes');

  await owner.removeConfiguration('life');
  await assert.rejects(owner.getConfiguration('life'), (err) => err.response.statusCode === 404);
});

test('configurations: what is wrong is refused', async () => {
  const refused = (code) => (err) => err.response.statusCode === 400 && err.response.headers['iothub-errorcode'] === code;
  await assert.rejects(owner.addConfiguration(chiller('bad', { targetCondition: 'tags.a =' })), refused('InvalidConfigurationTargetCondition'));
  await assert.rejects(owner.addConfiguration(chiller('bad', { content: undefined })), refused('InvalidConfigurationContent'));
  await assert.rejects(owner.addConfiguration(chiller('Bad')), refused('ArgumentInvalid'));
  await assert.rejects(serviceRegistry('service').getConfigurations(), (err) => err.response.statusCode === 401);
});

test('configurations: their queries are tested', async () => {
  const connection = JSON.parse(process.env.HUB_SERVICE_CONNECTIONS).iothubowner;
  const credentials = new IoTHubTokenCredentials(connection);
  const client = new IotHubGatewayServiceAPIs(credentials, {
    baseUri: `https://${credentials.getHubName()}`, apiVersion: '2021-04-12',
  });
  const good = await client.configuration.testQueries({
    targetCondition: "tags.location = 'US'", customMetricQueries: { all: 'SELECT deviceId FROM devices' },
  });
  assert.ok(!good.targetConditionError);
  assert.deepEqual(good.customMetricQueryErrors, {});
  const bad = await client.configuration.testQueries({
    targetCondition: 'properties.desired.a = 1', customMetricQueries: { broken: 'SELEC nope' },
  });
  assert.match(bad.targetConditionError, /deviceId, tags and properties\.reported/);
  assert.deepEqual(Object.keys(bad.customMetricQueryErrors), ['broken']);
});

test('configurations: a device is told what applies to it', async () => {
  const client = deviceClient();
  const updates = await desiredUpdates(await openTwin(client));
  await owner.addConfiguration(chiller('told', { metrics: { queries: { all: 'SELECT deviceId FROM devices' } } }));
  await evaluate();
  await updates.next(({ chiller: told }) => told?.temperature === 66, 'the chiller');
  const { responseBody: twin } = await owner.getTwin(process.env.HUB_DEVICE_ID);
  assert.equal(twin.properties.desired.chiller.temperature, 66);
  const query = owner.createQuery("SELECT * FROM devices WHERE configurations.[[told]].status = 'Applied'");
  const { result: [found] } = await query.nextAsTwin();
  assert.equal(found.deviceId, process.env.HUB_DEVICE_ID);
  const { responseBody: counted } = await owner.getConfiguration('told');
  assert.deepEqual(counted.systemMetrics.results, { targetedCount: 1, appliedCount: 1 });
  assert.ok(counted.metrics.results.all >= 1);
  await owner.removeConfiguration('told');
  await client.close();
});

test('deployments: the modules of an edge device', async () => {
  await owner.create({ deviceId: 'edge', capabilities: { iotEdge: true } });
  const content = {
    modulesContent: {
      $edgeAgent: { 'properties.desired': { schemaVersion: '1.1', modules: { sensor: { type: 'docker' } } } },
      $edgeHub: { 'properties.desired': { schemaVersion: '1.1', routes: {} } },
      sensor: { 'properties.desired': { rate: 5 } },
    },
  };
  await owner.applyConfigurationContentOnDevice('edge', content);
  const { responseBody: modules } = await owner.getModulesOnDevice('edge');
  assert.deepEqual(modules.map(({ moduleId }) => moduleId), ['$edgeAgent', '$edgeHub', 'sensor']);
  const { responseBody: sensor } = await owner.getModuleTwin('edge', 'sensor');
  assert.equal(sensor.properties.desired.rate, 5);
  await assert.rejects(
    owner.applyConfigurationContentOnDevice(process.env.HUB_DEVICE_ID, content),
    (err) => err.response.statusCode === 400,
  );

  await owner.addConfiguration({ id: 'deployment', content, targetCondition: '*', priority: 1 });
  await evaluate();
  const { responseBody: counted } = await owner.getConfiguration('deployment');
  assert.equal(counted.systemMetrics.results.appliedCount, 1);
  await owner.removeConfiguration('deployment');
});
