'use strict';

// What the suites ask of the emulator beyond IoT Hub's own interfaces: messages
// from the cloud, which the hub takes over AMQP only, faults, and counters.

async function ask(method, path, document) {
  const headers = { 'Content-Type': 'application/json' };
  const answer = await fetch(process.env.HUB_ADMIN_URL + path, { method, headers, body: JSON.stringify(document) });
  const text = await answer.text();
  if (!answer.ok) {
    throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  }
  return text === '' ? undefined : JSON.parse(text);
}

// sendToDevice queues a message. Its body is text.
function sendToDevice(deviceId, { body, ...properties }) {
  const message = { ...properties, body: Buffer.from(body).toString('base64') };
  return ask('POST', `/devices/${encodeURIComponent(deviceId)}/commands`, message);
}

// withFault runs while a fault is in force.
async function withFault(fault, run) {
  const { id } = await ask('POST', '/faults', { count: 0, ...fault });
  try {
    return await run();
  } finally {
    await ask('DELETE', `/faults/${id}`);
  }
}

// callsOf returns how often the hub has seen an operation.
async function callsOf(operation) {
  const { operations } = await ask('GET', '/counters');
  return operations[operation]?.calls ?? 0;
}

module.exports = { sendToDevice, withFault, callsOf };
