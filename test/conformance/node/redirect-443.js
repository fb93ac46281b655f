'use strict';

// Preloaded with `node --require`. The service package knows no port but 443,
// which only root may listen on. Dials to port 443 of the hub's own name go to
// the port in HUB_HTTPS_PORT instead; every other dial, and everything about
// TLS (server name, trust, the packages themselves), stays as it is.

const tls = require('node:tls');

const host = required('HUB_HOST');
const port = Number(required('HUB_HTTPS_PORT'));
const dial = tls.connect;

tls.connect = function connect(...args) {
  const [options] = args;
  if (options !== null && typeof options === 'object' &&
      options.host === host && Number(options.port) === 443) {
    args[0] = { ...options, port };
  }
  return dial.apply(this, args);
};

function required(name) {
  const value = process.env[name];
  if (!value) {
    throw new Error(`redirect-443.js needs ${name} in the environment`);
  }
  return value;
}
