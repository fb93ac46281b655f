'use strict';

// Devices and modules of the suites' own, and how they sign in.

const { Client, ConnectionString, ModuleClient } = require('azure-iot-device');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');

const transports = { TCP: Mqtt, WebSocket: MqttWs };

// A device speaks MQTT over TCP to a port of its own, which the host name may carry. A
// WebSocket goes to port 443, which leaves no room for a port in the name.
const hosts = {
  TCP: ConnectionString.parse(process.env.HUB_DEVICE_CONNECTION).HostName,
  WebSocket: process.env.HUB_HOST,
};

// register creates a device and returns its identity.
async function register(registry, deviceId, rest = {}) {
  return (await registry.create({ deviceId, ...rest })).responseBody;
}

// registerModule creates a module, whose device has to exist.
async function registerModule(registry, deviceId, moduleId) {
  return (await registry.addModule({ deviceId, moduleId })).responseBody;
}

// connectionOf returns the connection string of a device or module that has keys.
function connectionOf({ deviceId, moduleId, authentication }, host = hosts.TCP) {
  const connection = ConnectionString.createWithSharedAccessKey(host, deviceId, authentication.symmetricKey.primaryKey);
  return moduleId ? `${connection};ModuleId=${moduleId}` : connection;
}

// clientOf returns the client of a device or module that has keys.
function clientOf(identity, transport = 'TCP') {
  const Identity = identity.moduleId ? ModuleClient : Client;
  return Identity.fromConnectionString(connectionOf(identity, hosts[transport]), transports[transport]);
}

module.exports = { transports, hosts, register, registerModule, connectionOf, clientOf };
