// A gate as one writes it in Node: `jose` verifies, `http-proxy` passes on. One process.
//
//   node server.mjs PORT UPSTREAM KEY.pem ISSUER AUDIENCE SCOPE

import { readFileSync } from 'node:fs';
import http from 'node:http';

import httpProxy from 'http-proxy';
import { importSPKI, jwtVerify } from 'jose';

const [port, target, keyFile, issuer, audience, scope] = process.argv.slice(2);
const key = await importSPKI(readFileSync(keyFile, 'utf8'), 'RS256');
const agent = new http.Agent({ keepAlive: true });
const proxy = httpProxy.createProxyServer({ agent, target });
const rules = { algorithms: ['RS256'], audience, issuer, requiredClaims: ['exp'], typ: 'at+jwt' };

proxy.on('error', (_error, _request, response) => {
  response.writeHead(502, { 'content-length': 0 }).end();
});

const server = http.createServer(async (request, response) => {
  const refuse = (status) => response.writeHead(status, { 'content-length': 0 }).end();
  const [, token] = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '') ?? [];
  if (token === undefined) return refuse(401);
  let claims;
  try {
    ({ payload: claims } = await jwtVerify(token, key, rules));
  } catch {
    return refuse(401);
  }
  const scopes = typeof claims.scope === 'string' ? claims.scope.split(' ') : [];
  if (!scopes.includes(scope)) return refuse(403);
  delete request.headers.authorization;
  request.headers['x-forwarded-sub'] = claims.sub;
  request.headers['x-forwarded-scope'] = claims.scope;
  proxy.web(request, response);
});

server.listen(Number(port), '127.0.0.1');
