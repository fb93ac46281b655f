'use strict';

// Messages both ways over both transports: telemetry to the hub, and commands
// from the cloud.

const assert = require('node:assert/strict');
const { results } = require('azure-iot-common');
const { Message } = require('azure-iot-device');
const { test, serviceRegistry, openTwin } = require('./hub');
const { transports, register, clientOf } = require('./identities');
const { sendToDevice, callsOf } = require('./emulator');
const { happens, eventually, called } = require('./wait');

const owner = serviceRegistry('iothubowner');
const queued = async (deviceId) => (await owner.get(deviceId)).responseBody.cloudToDeviceMessageCount;

async function connected(transport, identity, run) {
  const client = clientOf(identity, transport);
  try {
    await client.open();
    return await run(client);
  } finally {
    await client.close();
  }
}

for (const transport of Object.keys(transports)) {
  const name = (what) => `${what}-${transport.toLowerCase()}`;

  test(`${transport}: a command arrives with all that it carries`, async () => {
    const identity = await register(owner, name('command'));
    await connected(transport, identity, async (client) => {
      const arrives = happens(client, 'message');
      const expiry = new Date(Date.now() + 60_000);
      await sendToDevice(identity.deviceId, {
        body: 'close the valve', messageId: 'm-1', correlationId: 'c-1', userId: 'operator',
        contentType: 'text/plain', contentEncoding: 'utf-8', expiry: expiry.toISOString(),
        properties: { urgency: 'high & rising', 'where to': 'hall 3/b' },
      });
      const [message] = await arrives;
      assert.equal(message.getData().toString(), 'close the valve');
      assert.deepEqual(message.getBytes(), Buffer.from('close the valve'));
      assert.deepEqual(
        [message.messageId, message.correlationId, message.userId, message.contentType, message.contentEncoding],
        ['m-1', 'c-1', 'operator', 'text/plain', 'utf-8'],
      );
      assert.equal(message.to, `/devices/${identity.deviceId}/messages/deviceBound`);
      assert.equal(Date.parse(message.expiryTimeUtc), expiry.getTime());
      assert.equal(message.properties.getValue('urgency'), 'high & rising');
      assert.equal(message.properties.getValue('where to'), 'hall 3/b');
      assert.equal(message.properties.getValue('absent'), undefined);
    });
  });

  test(`${transport}: a command is settled by its acknowledgement, and no other way`, async () => {
    const identity = await register(owner, name('settled'));
    await sendToDevice(identity.deviceId, { body: 'waits for the device' });
    assert.equal(await queued(identity.deviceId), 1);
    await connected(transport, identity, async (client) => {
      const [message] = await happens(client, 'message');
      assert.ok(await client.complete(message) instanceof results.MessageCompleted);
      assert.ok((await called(client, 'complete', message))[0] instanceof results.MessageCompleted);
      assert.throws(() => client.reject(message, () => {}), { name: 'NotImplementedError' });
      await assert.rejects(client.reject(message), { name: 'NotImplementedError' });
      await assert.rejects(client.abandon(message), { name: 'NotImplementedError' });
      await eventually('messages that wait', () => queued(identity.deviceId), (count) => count === 0);
    });
  });

  test(`${transport}: commands wait while the device is away, and come in order`, async () => {
    const identity = await register(owner, name('away'));
    await connected(transport, identity, async (client) => {
      client.on('message', () => {});
      await openTwin(client); // its answer comes after the subscription's
    });
    const sent = ['first', 'second', 'third'];
    for (const body of sent) {
      await sendToDevice(identity.deviceId, { body });
    }
    await connected(transport, identity, async (client) => {
      const seen = [];
      client.on('message', (message) => seen.push(message.getData().toString()));
      await eventually('commands', () => seen.length, (count) => count === sent.length);
      assert.deepEqual(seen, sent);
    });
  });

  test(`${transport}: no handler is registered, nothing is sent`, async () => {
    const identity = await register(owner, name('deaf'));
    await connected(transport, identity, async (client) => {
      const ignore = () => assert.fail('the device does not listen');
      client.on('message', ignore);
      await openTwin(client);
      client.removeListener('message', ignore);
      await client.getTwin(); // its answer comes after the unsubscription's
      await sendToDevice(identity.deviceId, { body: 'unheard' });
      assert.equal(await queued(identity.deviceId), 1);
      const [message] = await happens(client, 'message');
      assert.equal(message.getData().toString(), 'unheard');
    });
  });

  test(`${transport}: telemetry with all that it carries is acknowledged`, async () => {
    const identity = await register(owner, name('telemetry'));
    await connected(transport, identity, async (client) => {
      const before = await callsOf('mqttTelemetry');
      const message = new Message(JSON.stringify({ temperature: 21.5 }));
      Object.assign(message, {
        messageId: 'm-1', correlationId: 'c-1', userId: 'sensor', to: 'recipient', contentType: 'application/json',
        contentEncoding: 'utf-8', expiryTimeUtc: new Date(Date.now() + 60_000),
      });
      message.properties.add('alert', 'no & never');
      message.properties.add('dt-subject', 'thermostat');
      assert.equal(message.properties.add('Authorization', 'refused'), false);
      assert.deepEqual(message.properties.getItem(0), { key: 'alert', value: 'no & never' });
      assert.equal(message.properties.count(), 2);
      message.setAsSecurityMessage();
      assert.ok(await client.sendEvent(message) instanceof results.MessageEnqueued);
      assert.ok((await called(client, 'sendEvent', new Message(Buffer.from([0, 255]))))[0] instanceof results.MessageEnqueued);
      assert.equal(await callsOf('mqttTelemetry'), before + 2);
    });
  });

  test(`${transport}: many messages at once are all acknowledged`, async () => {
    const identity = await register(owner, name('many'));
    await connected(transport, identity, async (client) => {
      const sent = Array.from({ length: 100 }, (_, i) => client.sendEvent(new Message(`reading ${i}`)));
      assert.equal((await Promise.all(sent)).length, 100);
    });
  });

  test(`${transport}: a batch and a message of more than 256 KB are refused by the package`, async () => {
    const identity = await register(owner, name('refused'));
    await connected(transport, identity, async (client) => {
      const messages = [new Message('a'), new Message('b')];
      assert.throws(() => client.sendEventBatch(messages, () => {}), { name: 'NotImplementedError' });
      await assert.rejects(client.sendEventBatch(messages), { name: 'NotImplementedError' });
      await assert.rejects(client.sendEvent(new Message(Buffer.alloc(256 * 1024 + 1))), { name: 'MessageTooLargeError' });
      await client.sendEvent(new Message(Buffer.alloc(250 * 1024)));
    });
  });
}

test('a message may be made of a text, of bytes, of an array', () => {
  for (const data of ['text', Buffer.from('bytes'), [1, 2], new ArrayBuffer(2)]) {
    assert.ok(Message.isBufferConvertible(data));
  }
  assert.ok(!Message.isBufferConvertible({ temperature: 21 }));
  assert.deepEqual(new Message('text').getBytes(), Buffer.from('text'));
});
