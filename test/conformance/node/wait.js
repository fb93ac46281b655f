'use strict';

// Bounded waits.

const { once } = require('node:events');
const { setTimeout: pause } = require('node:timers/promises');

const PATIENCE_MS = 10_000;
const POLL_MS = 20;

// happens resolves to the arguments of an emitter's next event.
async function happens(emitter, event) {
  try {
    return await once(emitter, event, { signal: AbortSignal.timeout(PATIENCE_MS) });
  } catch (err) {
    throw err.name === 'AbortError' ? new Error(`no event '${event}' in ${PATIENCE_MS} ms`) : err;
  }
}

// eventually asks again and again until the answer is what is wanted.
async function eventually(what, ask, wanted) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const answer = await ask();
    if (wanted(answer)) {
      return answer;
    }
    if (Date.now() > deadline) {
      throw new Error(`${what}: still ${JSON.stringify(answer)} after ${PATIENCE_MS} ms`);
    }
    await pause(POLL_MS);
  }
}

// called calls a method that takes a callback and resolves to what that is given.
function called(object, method, ...args) {
  return new Promise((resolve, reject) => {
    object[method](...args, (err, ...results) => (err ? reject(err) : resolve(results)));
  });
}

module.exports = { happens, eventually, called };
