'use strict';

// How the service package reads the hub's refusals: as errors of its own classes.

const assert = require('node:assert/strict');
const errors = require('azure-iothub/dist/common-core/errors');
const { test, serviceRegistry } = require('./hub');
const { register } = require('./identities');
const { withFault } = require('./emulator');

const owner = serviceRegistry('iothubowner');
const deviceId = process.env.HUB_DEVICE_ID;
const twinOf = (id) => owner.getTwin(id);

// What a hub may answer that is unwell, or that this one has no cause for.
const faults = [
  { status: 400, error: errors.ArgumentError },
  { status: 401, error: errors.UnauthorizedError },
  { status: 403, errorCode: 'IotHubQuotaExceeded', error: errors.TooManyDevicesError },
  { status: 404, errorCode: 'DeviceNotFound', error: errors.DeviceNotFoundError },
  { status: 404, errorCode: 'IotHubNotFound', error: errors.IotHubNotFoundError },
  { status: 408, errorCode: 'DeviceTimeout', error: errors.DeviceTimeoutError },
  { status: 409, error: errors.DeviceAlreadyExistsError },
  { status: 412, error: errors.InvalidEtagError },
  { status: 429, error: errors.ThrottlingError },
  { status: 500, error: errors.InternalServerError },
  { status: 502, errorCode: 'BadDeviceResponse', error: errors.BadDeviceResponseError },
  { status: 503, errorCode: 'ServerBusy', error: errors.ServiceUnavailableError },
  { status: 504, error: errors.GatewayTimeoutError },
];
for (const { status, errorCode, error } of faults) {
  test(`${status} ${errorCode ?? ''} is ${error.name}`, () =>
    withFault({ operation: 'getTwin', action: 'status', status, errorCode }, () => assert.rejects(twinOf(deviceId), (err) => {
      assert.ok(err instanceof error, `${err.name}: ${err.message}`);
      assert.notEqual(err.message, '');
      assert.equal(err.response.statusCode, status);
      if (errorCode) {
        assert.equal(err.response.headers['iothub-errorcode'], errorCode);
      }
      return true;
    })));
}

test('429: the hub hangs up and does not say how long to wait', () =>
  withFault({ operation: 'getTwin', action: 'status', status: 429 }, () => assert.rejects(twinOf(deviceId), (err) => {
    assert.match(err.message, /Wait 10 seconds/);
    assert.equal(err.response.headers.connection, 'close');
    assert.equal(err.response.headers['retry-after'], undefined);
    return true;
  })));

test('a connection that is cut is no answer', () =>
  withFault({ operation: 'getTwin', action: 'reset' }, () => assert.rejects(twinOf(deviceId), { code: 'ECONNRESET' })));

test('an answer that is cut off was applied all the same', async () => {
  await withFault({ operation: 'updateTwin', action: 'dropAnswer', count: 1 }, () =>
    assert.rejects(owner.updateTwin(deviceId, { tags: { cut: true } }, '*')));
  assert.equal((await twinOf(deviceId)).responseBody.tags.cut, true);
});

// What this hub refuses by itself.
const refusals = {
  '400: a key with a dot': {
    ask: () => owner.updateTwin(deviceId, { tags: { 'a.b': 1 } }, '*'),
    error: errors.ArgumentError, code: 'ArgumentInvalid', message: /invalid characters/,
  },
  '400: a string that is too long': {
    ask: () => owner.updateTwin(deviceId, { tags: { a: 'x'.repeat(4097) } }, '*'),
    error: errors.ArgumentError, code: 'ArgumentInvalid', message: /4096/,
  },
  '400: an identity with a status that does not exist': {
    ask: () => owner.update({ deviceId, status: 'asleep' }),
    error: errors.ArgumentError, code: 'ArgumentInvalid', message: /status/,
  },
  '400: a query that cannot be read': {
    ask: () => owner.createQuery('SELECT').next(),
    error: errors.ArgumentError, code: 'ArgumentInvalid', message: /BadRequest/,
  },
  '401: a policy that may not write identities': {
    ask: () => serviceRegistry('service').create({ deviceId: 'forbidden' }),
    error: errors.UnauthorizedError, code: 'IotHubUnauthorizedAccess', message: /Unauthorized/,
  },
  '403: desired properties of more than 32 KB': {
    ask: () => owner.updateTwin(deviceId, { properties: { desired: large(9) } }, '*'),
    error: errors.TooManyDevicesError, code: 'DeviceModelMaxPropertiesExceeded', message: /32768/,
  },
  '404: a device that is not there': {
    ask: () => owner.update({ deviceId: 'no-such-device' }),
    error: errors.DeviceNotFoundError, code: 'DeviceNotFound', message: /no-such-device/,
  },
  '404: the twin of a module that is not there': {
    ask: () => owner.updateModuleTwin(deviceId, 'no-such-module', { tags: {} }, '*'),
    error: errors.DeviceNotFoundError, code: 'DeviceNotFound', message: /./,
  },
  '409: a device that is there already': {
    ask: () => owner.create({ deviceId }),
    error: errors.DeviceAlreadyExistsError, code: 'DeviceAlreadyExists', message: /already registered/,
  },
  '412: a twin that has moved on': {
    ask: () => owner.updateTwin(deviceId, { tags: {} }, 'AAAAAAAAAAA='),
    error: errors.InvalidEtagError, code: 'PreconditionFailed', message: /ETag mismatch/,
  },
};
for (const [what, { ask, error, code, message }] of Object.entries(refusals)) {
  test(what, () => assert.rejects(ask(), (err) => {
    assert.ok(err instanceof error, `${err.name}: ${err.message}`);
    assert.equal(err.response.headers['iothub-errorcode'], code);
    assert.match(err.message, message);
    return true;
  }));
}

test('404: a module that is not there has no class of its own', async () => {
  await assert.rejects(owner.getModule(deviceId, 'no-such-module'), (err) => {
    assert.equal(err.message, 'Not found');
    assert.equal(err.response.headers['iothub-errorcode'], 'ModuleNotFound');
    return true;
  });
});

test('401: the modules of a device that is disabled', async () => {
  await register(owner, 'asleep', { status: 'disabled' });
  await assert.rejects(owner.addModule({ deviceId: 'asleep', moduleId: 'arm' }), { name: 'UnauthorizedError' });
});

function large(strings) {
  return Object.fromEntries(Array.from({ length: strings }, (_, i) => [`s${i}`, 'x'.repeat(4000)]));
}
