'use strict';

// Preloaded with `node --require`. Takes down which of the methods in the file
// HUB_METHODS (surface.js made it) a suite calls, and leaves their ids in the file
// HUB_CALLS at its end. The methods are wrapped in memory, as each suite loads
// them; the packages on disk stay as they are, and so does what the methods do.

const fs = require('node:fs');

const methods = JSON.parse(fs.readFileSync(required('HUB_METHODS'), 'utf8'));
const callsFile = required('HUB_CALLS');
const called = new Set();
// Where a method is written down -> its name -> the classes that have it -> id.
const owners = new Map();

for (const { id, module, path } of methods) {
  const name = path.at(-1);
  const holder = path.slice(0, -1).reduce((object, key) => object[key], require(module));
  const owner = ownerOf(holder, name);
  if (!owners.has(owner)) {
    owners.set(owner, new Map());
  }
  const names = owners.get(owner);
  if (!names.has(name)) {
    names.set(name, new Map());
    wrap(owner, name, names.get(name));
  }
  names.get(name).set(holder, id);
}

process.on('exit', () => fs.writeFileSync(callsFile, JSON.stringify([...called])));

function wrap(owner, name, ids) {
  owner[name] = new Proxy(owner[name], {
    apply(method, self, args) {
      called.add(idOf(self, ids));
      return Reflect.apply(method, self, args);
    },
  });
}

// idOf finds the class that a method is called on. A subclass counts as itself
// where it is listed, else as the class it extends. A function that was taken out
// of its module has only one.
function idOf(self, ids) {
  for (let holder = self; holder !== null && holder !== undefined; holder = Object.getPrototypeOf(holder)) {
    if (ids.has(holder)) {
      return ids.get(holder);
    }
  }
  return ids.values().next().value;
}

function ownerOf(holder, name) {
  while (!Object.hasOwn(holder, name)) {
    holder = Object.getPrototypeOf(holder);
  }
  return holder;
}

function required(name) {
  const value = process.env[name];
  if (!value) {
    throw new Error(`recorder.js needs ${name} in the environment`);
  }
  return value;
}
