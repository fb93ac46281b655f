'use strict';

// Updates twins with Microsoft's service SDK, so many at a time, each on the condition
// of the etag that was read. What it took is told by the hub.

const { Registry } = require('azure-iothub');

const [prefix, count, atATime] = process.argv.slice(2);
const registry = Registry.fromConnectionString(process.env.HUB_SERVICE_CONNECTION);
const patch = JSON.parse(process.env.TWIN_PATCH);

async function update(i) {
  const { responseBody: twin } = await registry.getTwin(`${prefix}-${i}`);
  await registry.updateTwin(twin.deviceId, patch, twin.etag);
}

let next = 1;
async function worker() {
  while (next <= Number(count)) {
    const i = next;
    next += 1;
    await update(i);
  }
}

Promise.all(Array.from({ length: Number(atATime) }, worker)).catch((err) => {
  process.stderr.write(`${err.stack}\n`);
  process.exitCode = 1;
});
