'use strict';

// Direct methods from both ends: the service package calls, the device package
// answers, for devices over both transports and for modules.

const assert = require('node:assert/strict');
const { Client: ServiceClient } = require('azure-iothub');
const { DeviceMethodRequest } = require('azure-iot-device');
const { test, serviceRegistry, deviceClient, openTwin } = require('./hub');
const { register, registerModule, clientOf } = require('./identities');
const { withFault } = require('./emulator');
const { called } = require('./wait');

const owner = serviceRegistry('iothubowner');
const service = ServiceClient.fromConnectionString(JSON.parse(process.env.HUB_SERVICE_CONNECTIONS).service);
const patience = { responseTimeoutInSeconds: 20, connectTimeoutInSeconds: 10 };

const onDevice = (transport) => ({
  connect: async (id) => clientOf(await register(owner, id), transport),
  serve: (client, name, handler) => client.onDeviceMethod(name, handler),
  target: (id) => [id],
});

// The kinds of callee, by the same names.
const kinds = {
  device: onDevice('TCP'),
  websocket: onDevice('WebSocket'),
  module: {
    connect: async (id) => {
      await register(owner, id);
      return clientOf(await registerModule(owner, id, 'arm'));
    },
    serve: (client, name, handler) => client.onMethod(name, handler),
    target: (id) => [id, 'arm'],
  },
};

// serving runs while handlers answer the methods of their names.
async function serving({ connect, serve }, id, handlers, run) {
  const client = await connect(id);
  try {
    await client.open();
    Object.entries(handlers).forEach(([name, handler]) => serve(client, name, handler));
    await openTwin(client); // its answer comes after the subscription's
    return await run(client);
  } finally {
    await client.close();
  }
}

for (const [kind, callee] of Object.entries(kinds)) {
  const { target } = callee;

  test(`${kind}: what is sent arrives, what is answered comes back`, () => {
    const payloads = [{ delay: 3 }, [1, 2.5, 'three'], 'text', 42, true, null, { nested: { deeply: [{}] } }];
    const echo = (request, response) => response.send(200, request.payload);
    return serving(callee, `${kind}-echo`, { echo }, async () => {
      for (const payload of payloads) {
        const { result } = await service.invokeDeviceMethod(...target(`${kind}-echo`), { methodName: 'echo', payload, ...patience });
        assert.deepEqual(result, { status: 200, payload });
      }
    });
  });

  test(`${kind}: an answer with a callback, without a payload, with any status`, () => {
    const sent = [];
    const done = (err) => sent.push(err);
    const handlers = {
      withCallback: (request, response) => response.send(201, { by: request.methodName }, done),
      withoutPayload: (request, response) => response.send(404, done),
      withPromise: (request, response) => response.send(-7).then(() => done(null)),
    };
    return serving(callee, `${kind}-answers`, handlers, async () => {
      const call = async (methodName) => (await called(
        service, 'invokeDeviceMethod', ...target(`${kind}-answers`), { methodName, ...patience },
      ))[0];
      assert.deepEqual(await call('withCallback'), { status: 201, payload: { by: 'withCallback' } });
      assert.deepEqual(await call('withoutPayload'), { status: 404, payload: null });
      assert.deepEqual(await call('withPromise'), { status: -7, payload: null });
      assert.deepEqual(sent.map(Boolean), [false, false, false]);
    });
  });

  test(`${kind}: calls that come together are all answered`, () => {
    const twice = (request, response) => response.send(200, request.payload * 2);
    return serving(callee, `${kind}-many`, { twice }, async () => {
      const calls = Array.from({ length: 10 }, (_, payload) =>
        service.invokeDeviceMethod(...target(`${kind}-many`), { methodName: 'twice', payload, ...patience }));
      const answers = await Promise.all(calls);
      assert.deepEqual(answers.map(({ result }) => result.payload), answers.map((_, i) => 2 * i));
    });
  });
}

test('a request is answered once', () => {
  let again;
  const once = (request, response) => {
    response.send(200);
    again = assert.rejects(response.send(200), /already ended/);
  };
  return serving(kinds.device, 'answers-once', { once }, async () => {
    const { result } = await service.invokeDeviceMethod('answers-once', { methodName: 'once', ...patience });
    assert.equal(result.status, 200);
    await again;
  });
});

test('a method has one handler, and a name', () =>
  serving(kinds.device, 'one-handler', { reboot: () => {} }, (client) => {
    assert.throws(() => client.onDeviceMethod('reboot', () => {}), /already been registered/);
    assert.throws(() => client.onDeviceMethod('', () => {}), ReferenceError);
  }));

test('a request that is not JSON is answered by the package', () => {
  assert.throws(() => new DeviceMethodRequest('1', 'reboot', Buffer.from('not JSON')), SyntaxError);
  const request = new DeviceMethodRequest('1', 'reboot', Buffer.from('{"delay":3}'));
  assert.deepEqual([request.requestId, request.methodName, request.payload], ['1', 'reboot', { delay: 3 }]);
});

test('a method that the device does not know is not answered in time', () =>
  serving(kinds.device, 'knows-nothing', { known: () => {} }, () => assert.rejects(
    service.invokeDeviceMethod('knows-nothing', { methodName: 'unknown', responseTimeoutInSeconds: 5 }),
    (err) => err.name === 'GatewayTimeoutError' && err.response.statusCode === 504,
  )));

test('a device that is not there is not found, nor one that is not connected', async () => {
  const call = (...target) => service.invokeDeviceMethod(...target, { methodName: 'reboot' });
  const numberOf = async (...target) => {
    try {
      await call(...target);
    } catch (err) {
      assert.equal(err.response.statusCode, 404);
      return JSON.parse(JSON.parse(err.responseBody).Message).errorCode;
    }
    throw new Error('the call was answered');
  };
  await register(owner, 'offline');
  assert.equal(await numberOf('offline'), 404103);
  assert.equal(await numberOf('missing'), 404001);
  assert.equal(await numberOf('offline', 'missing'), 404001);
});

test('the time to connect is part of the time to answer', async () => {
  const params = { methodName: 'reboot', responseTimeoutInSeconds: 5, connectTimeoutInSeconds: 6 };
  await assert.rejects(service.invokeDeviceMethod(process.env.HUB_DEVICE_ID, params), { name: 'ArgumentError' });
});

test('a call waits for the device to connect', async () => {
  const answer = service.invokeDeviceMethod(process.env.HUB_DEVICE_ID, { methodName: 'late', ...patience });
  const late = deviceClient();
  late.onDeviceMethod('late', (request, response) => response.send(200, 'here'));
  assert.equal((await answer).result.payload, 'here');
  await late.close();
});

test('the service client tries again as its policy says', () => {
  const tries = [];
  service.setRetryPolicy({
    shouldRetry: (err) => err.name === 'ServiceUnavailableError',
    nextRetryTimeout: (count) => tries.push(count),
  });
  assert.throws(() => service.setRetryPolicy({}), { name: 'ArgumentError' });
  const fault = { operation: 'invokeMethod', action: 'status', status: 503, count: 2 };
  return serving(kinds.device, 'retried', { hello: (request, response) => response.send(200) }, () => withFault(fault, async () => {
    const { result } = await service.invokeDeviceMethod('retried', { methodName: 'hello', ...patience });
    assert.equal(result.status, 200);
    assert.deepEqual(tries, [1, 2]);
  }));
});
