'use strict';

// What the suites share: the clients as the packages' own documentation builds
// them, and a bounded wait for an event.

const runner = require('node:test');
const { Registry } = require('azure-iothub');
const { Client } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');

const EVENT_TIMEOUT_MS = 10_000;
const CASE_TIMEOUT_MS = 30_000;

// test is the runner's, bounded.
function test(name, run) {
  runner.test(name, { timeout: CASE_TIMEOUT_MS }, run);
}

// serviceRegistry returns a service client. HUB_SERVICE_CONNECTIONS holds one
// connection string per shared access policy.
function serviceRegistry(policy) {
  const connections = JSON.parse(process.env.HUB_SERVICE_CONNECTIONS);
  return Registry.fromConnectionString(connections[policy]);
}

function deviceClient(connectionString = process.env.HUB_DEVICE_CONNECTION) {
  return Client.fromConnectionString(connectionString, Mqtt);
}

// openTwin resolves to the twin of an opened device client.
async function openTwin(client) {
  await client.open();
  return client.getTwin();
}

// report resolves when the hub has acknowledged the reported properties.
function report(twin, patch) {
  return new Promise((resolve, reject) => {
    twin.properties.reported.update(patch, (err) => (err ? reject(err) : resolve()));
  });
}

// desiredUpdates collects every desired change the device is told of, in
// order; next() waits for the one that satisfies the predicate. The package does
// not say when its subscription stands, and a hub keeps no change for later: a
// report on the same connection is answered after the subscription.
async function desiredUpdates(twin) {
  const seen = [];
  let wake = () => {};
  twin.on('properties.desired', (delta) => {
    seen.push(structuredClone(delta));
    wake();
  });
  const next = (predicate, what) => new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(
      `the device was not told of ${what} in ${EVENT_TIMEOUT_MS} ms; it was told ${JSON.stringify(seen)}`,
    )), EVENT_TIMEOUT_MS);
    wake = () => {
      const found = seen.find(predicate);
      if (found !== undefined) {
        clearTimeout(timer);
        resolve(found);
      }
    };
    wake();
  });
  await report(twin, { listening: true });
  return { seen, next };
}

// idsOf runs a query to its last page and returns the device ids of each page.
async function idsOf(registry, text, pageSize) {
  const query = registry.createQuery(text, pageSize);
  const pages = [];
  while (query.hasMoreResults) {
    const { result } = await query.nextAsTwin();
    pages.push(result.map((twin) => twin.deviceId));
  }
  return pages;
}

module.exports = { test, serviceRegistry, deviceClient, openTwin, report, desiredUpdates, idsOf };
