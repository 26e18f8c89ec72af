// The command line of both scripts, and the one line they answer it with.

import { createServer } from 'node:http';
import { parseArgs } from 'node:util';

/** Reads `--name value` options; `repeated` ones become arrays. Exits with 2 on anything else. */
export function readOptions(defaults, { repeated = [], flags = [] } = {}) {
  const options = {};
  for (const name of [...Object.keys(defaults), ...repeated]) {
    options[name] = { type: 'string', multiple: repeated.includes(name) };
  }
  for (const name of flags) {
    options[name] = { type: 'boolean' };
  }
  try {
    const { values } = parseArgs({ options });
    return { ...defaults, ...values };
  } catch (error) {
    stop(error.message);
  }
}

/** Ends the program with a message and status 2. */
export function stop(message) {
  console.error(message);
  process.exit(2);
}

/** Listens on loopback and returns the server and its origin. */
export async function listen(port) {
  if (!/^[0-9]{1,5}$/.test(port) || Number(port) > 65535) {
    stop(`--port is a number up to 65535, not ${port}`);
  }
  const server = createServer();
  try {
    await new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(Number(port), '127.0.0.1', resolve);
    });
  } catch (error) {
    stop(error.code === 'EADDRINUSE' ? `port ${port} is in use by another program` : error.message);
  }
  return { server, origin: `http://127.0.0.1:${server.address().port}` };
}

/** Says where it serves, and ends at SIGINT or SIGTERM. */
export function ready(origin) {
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.on(signal, () => process.exit(0));
  }
  process.stdout.write(`Serving ${origin}\n`);
}

/** Reads a whole body of at most `limit` bytes as text. */
export async function readBody(request, limit = 1024 * 1024) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > limit) {
      throw new Error('the body is too long');
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
