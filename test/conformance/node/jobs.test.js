'use strict';

// Scheduled jobs, as the service package schedules, reads, lists and cancels
// them, and the queries over what they did to devices.

const assert = require('node:assert/strict');
const { ConnectionString, JobClient, SharedAccessSignature } = require('azure-iothub');
const { Client } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { test, serviceRegistry, openTwin } = require('./hub');
const { register, connectionOf } = require('./identities');
const { eventually, called } = require('./wait');

const connections = JSON.parse(process.env.HUB_SERVICE_CONNECTIONS);
const owner = serviceRegistry('iothubowner');
const jobs = JobClient.fromConnectionString(connections.iothubowner);

const HOUR_MS = 3_600_000;
const later = () => new Date(Date.now() + HOUR_MS);

// fleet registers devices whose twins say that they are one; its condition
// selects them.
async function fleet(name, size) {
  const ids = Array.from({ length: size }, (_, i) => `${name}-${i}`);
  for (const id of ids) {
    await register(owner, id);
    await owner.updateTwin(id, { tags: { fleet: name } }, '*');
  }
  return { ids, condition: `tags.fleet = '${name}'` };
}

// ended resolves to a job once it has come to its end.
const ended = (id) => eventually(
  `job ${id}`,
  async () => (await jobs.getJob(id)).jobStatus,
  ({ status }) => ['completed', 'failed'].includes(status),
);

// everyPage resolves to the pages that are left of a query. The package starts
// over unless it is given the token.
async function everyPage(query) {
  const pages = [];
  while (query.hasMoreResults) {
    const { result } = await query.next(query.continuationToken);
    pages.push(result);
  }
  return pages;
}

const deviceJobs = async (condition, pageSize) => everyPage(owner.createQuery(`SELECT * FROM devices.jobs WHERE ${condition}`, pageSize));

test('twin update: every device that the condition selects is updated', async () => {
  const { ids, condition } = await fleet('presses', 3);
  const patch = { etag: '*', tags: { fleet: null, was: 'presses' }, properties: { desired: { rate: { limit: 5 } } } };
  const { jobStatus: created } = await jobs.scheduleTwinUpdate('presses-1', condition, patch, new Date(), 60);
  assert.deepEqual(
    [created.jobId, created.type, created.status, created.queryCondition, created.maxExecutionTimeInSeconds],
    ['presses-1', 'scheduleUpdateTwin', 'queued', condition, 60],
  );
  assert.deepEqual(created.updateTwin, patch);

  const job = await ended('presses-1');
  assert.equal(job.status, 'completed');
  assert.deepEqual(job.deviceJobStatistics, { deviceCount: 3, failedCount: 0, succeededCount: 3, runningCount: 0, pendingCount: 0 });
  assert.ok(Date.parse(job.endTime) >= Date.parse(job.createdTime));
  for (const id of ids) {
    const { responseBody: twin } = await owner.getTwin(id);
    assert.deepEqual(twin.tags, { was: 'presses' });
    assert.deepEqual(twin.properties.desired.rate, { limit: 5 });
  }
});

test('device method: the outcome of each device can be queried', async () => {
  const { ids: [online, offline], condition } = await fleet('doors', 2);
  const device = Client.fromConnectionString(connectionOf(await register(owner, 'doors-extra')), Mqtt);
  await owner.updateTwin('doors-extra', { tags: { fleet: 'doors' } }, '*');
  try {
    await device.open();
    device.onDeviceMethod('lock', (request, response) => response.send(202, { locked: request.payload.for }));
    await openTwin(device); // its answer comes after the subscription's
    await jobs.scheduleDeviceMethod('doors-1', condition, { methodName: 'lock', payload: { for: 30 }, responseTimeoutInSeconds: 10 });
    const job = await ended('doors-1');
    assert.equal(job.status, 'completed');
    assert.equal(job.cloudToDeviceMethod.methodName, 'lock');
    assert.deepEqual([job.deviceJobStatistics.succeededCount, job.deviceJobStatistics.failedCount], [1, 2]);
  } finally {
    await device.close();
  }
  const [rows] = await deviceJobs("jobId = 'doors-1'");
  assert.deepEqual(rows.map((row) => [row.deviceId, row.jobType, row.status]), [
    [online, 'scheduleDeviceMethod', 'failed'], [offline, 'scheduleDeviceMethod', 'failed'],
    ['doors-extra', 'scheduleDeviceMethod', 'completed'],
  ]);
  assert.equal(rows[0].error.code, 'DeviceNotOnline');
  assert.deepEqual(rows[2].outcome, { deviceMethodResponse: { status: 202, payload: { locked: 30 } } });
});

test('queries over devices.jobs: pages of rows, whichever client asks', async () => {
  const { ids, condition } = await fleet('ovens', 3);
  await jobs.scheduleTwinUpdate('ovens-1', condition, { etag: '*', tags: { hot: true } });
  await ended('ovens-1');
  const query = owner.createQuery("SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'ovens-1'", 2);
  const { result, message } = await query.next();
  assert.equal(message.headers['x-ms-item-type'], 'DeviceJob');
  assert.deepEqual(Object.keys(result[0]).sort(), [
    'createdDateTimeUtc', 'deviceId', 'endTimeUtc', 'jobId', 'jobType', 'lastUpdatedDateTimeUtc', 'outcome', 'startTimeUtc', 'status',
  ]);
  const rest = await everyPage(query);
  assert.deepEqual([result, ...rest].map((page) => page.map((row) => row.deviceId)), [ids.slice(0, 2), ids.slice(2)]);
  const [some] = await deviceJobs(`deviceId = '${ids[0]}' AND jobType = 'scheduleUpdateTwin' AND createdDateTimeUtc > '2016-09-01'`);
  assert.equal(some.length, 1);
  await assert.rejects(owner.createQuery('SELECT deviceId FROM devices.jobs').next(), { name: 'ArgumentError' });
});

test('list: jobs by type and state, in pages', async () => {
  for (let i = 0; i < 3; i++) {
    await jobs.scheduleTwinUpdate(`listed-${i}`, '*', { etag: '*', tags: { listed: i } }, later(), 60);
  }
  await jobs.scheduleDeviceMethod('listed-method', '*', { methodName: 'm' }, later(), 60);
  const listed = async (...filter) => (await everyPage(jobs.createQuery(...filter)))
    .map((page) => page.map((job) => job.jobId).filter((id) => id.startsWith('listed-')));
  await eventually('the jobs', () => listed(undefined, 'scheduled'), (pages) => pages.flat().length === 4);
  assert.deepEqual(await listed('scheduleUpdateTwin', 'scheduled', 2), [['listed-0', 'listed-1'], ['listed-2']]);
  assert.deepEqual((await listed('scheduleDeviceMethod')).flat(), ['listed-method']);
  assert.deepEqual((await listed()).flat().length, 4);
  await assert.rejects(jobs.createQuery('import').next(), { name: 'ArgumentError' });
  for (const id of (await listed()).flat()) {
    await jobs.cancelJob(id);
  }
});

test('cancel: before the start only', async () => {
  const { ids: [id], condition } = await fleet('lathes', 1);
  await jobs.scheduleTwinUpdate('lathes-later', condition, { etag: '*', tags: { turned: true } }, later(), 60);
  const { jobStatus: cancelled } = await jobs.cancelJob('lathes-later');
  assert.equal(cancelled.status, 'cancelled');
  assert.equal((await jobs.getJob('lathes-later')).jobStatus.status, 'cancelled');
  assert.equal((await owner.getTwin(id)).responseBody.tags.turned, undefined);

  await jobs.scheduleTwinUpdate('lathes-now', condition, { etag: '*', tags: { turned: true } });
  await ended('lathes-now');
  await assert.rejects(jobs.cancelJob('lathes-now'), (err) => {
    assert.equal(err.response.statusCode, 405);
    assert.equal(err.response.headers['iothub-errorcode'], 'OperationNotAllowedInCurrentState');
    return true;
  });
  await assert.rejects(jobs.cancelJob('missing'), (err) => err.response.headers['iothub-errorcode'] === 'JobNotFound');
});

test('refusals: an id twice, an id that is none, a start too far ahead', async () => {
  const schedule = (id, start = later()) => jobs.scheduleTwinUpdate(id, '*', { etag: '*', tags: { a: 1 } }, start, 60);
  const refusedAs = (code, status) => (err) => {
    assert.equal(err.response.headers['iothub-errorcode'], code);
    assert.equal(err.response.statusCode, status);
    return true;
  };
  await schedule('twice');
  await assert.rejects(schedule('twice'), refusedAs('JobAlreadyExists', 409));
  await assert.rejects(schedule('Not_An_Id'), refusedAs('ArgumentInvalid', 400));
  await assert.rejects(schedule('next-month', new Date(Date.now() + 30 * 24 * HOUR_MS)), refusedAs('ArgumentInvalid', 400));
  await jobs.cancelJob('twice');
});

test('an unknown job is an answer of its own', async () => {
  assert.deepEqual((await jobs.getJob('never-was')).jobStatus, { type: 'unknown', status: 'unknown' });
});

test('a condition that is no query fails the job, not the request', async () => {
  const { jobStatus } = await jobs.scheduleTwinUpdate('bad-query', 'SELECT * FROM devices', { etag: '*', tags: { a: 1 } });
  assert.equal(jobStatus.status, 'queued');
  const job = await ended('bad-query');
  assert.equal(job.status, 'failed');
  assert.match(job.failureReason, /column 1: /);
});

test('callbacks: as with promises', async () => {
  const { condition } = await fleet('saws', 1);
  const [created] = await called(jobs, 'scheduleTwinUpdate', 'saws-1', condition, { etag: '*', tags: { sharp: true } });
  assert.equal(created.maxExecutionTimeInSeconds, 3600);
  await ended('saws-1');
  const [read] = await called(jobs, 'getJob', 'saws-1');
  assert.equal(read.status, 'completed');
  await called(jobs, 'scheduleDeviceMethod', 'saws-2', condition, { methodName: 'm' }, later());
  const [cancelled] = await called(jobs, 'cancelJob', 'saws-2');
  assert.equal(cancelled.status, 'cancelled');
  const [listed] = await called(jobs.createQuery('scheduleDeviceMethod', 'cancelled'), 'next');
  assert.ok(listed.some((job) => job.jobId === 'saws-2'));
});

test('sign-in: with a token, and with the permissions of the registry', async () => {
  const { HostName, SharedAccessKeyName, SharedAccessKey } = ConnectionString.parse(connections.registryReadWrite);
  const token = SharedAccessSignature.create(HostName, SharedAccessKeyName, SharedAccessKey, Math.floor(Date.now() / 1000) + 60);
  const client = JobClient.fromSharedAccessSignature(token.toString());
  const { jobStatus } = await client.scheduleTwinUpdate('by-registry', '*', { etag: '*', tags: { a: 1 } }, later(), 60);
  assert.equal(jobStatus.jobId, 'by-registry');
  await client.cancelJob('by-registry');
  await assert.rejects(JobClient.fromConnectionString(connections.service).getJob('by-registry'), { name: 'UnauthorizedError' });
});
