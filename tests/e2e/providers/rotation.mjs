// Refresh tokens that rotate: each is good once, and a second use is taken for theft and ends
// the whole family (RFC 9700 section 4.14.2). An answer can be held, before the token is used
// up or after.

import { randomBytes } from 'node:crypto';

/**
 * The refresh tokens of one issuer. `control` takes what `POST /refreshing` says:
 *
 *   {"hold": "before" | "after", "token": {...}, "claims": {...}, "status": 500}
 *
 * `token` is laid over what is right, `claims` over those of the ID token. `POST /release` lets go what is held and holds nothing
 * more. A held request whose client goes away is never answered; one held `before` then changes
 * nothing, as if it had never come.
 */
export function rotation() {
  const families = new Map();
  const tokens = new Map();
  const counts = { sent: 0, rotated: 0, reused: 0 };
  let control = {};
  let held = [];
  let waiting = [];

  const issue = (family) => {
    const token = randomBytes(16).toString('base64url');
    tokens.set(token, { family, used: false });
    return token;
  };

  /** Resolves when released, rejects when the client is gone. */
  const hold = (request) =>
    new Promise((done, gone) => {
      held.push(done);
      request.socket.once('close', () => gone(new Error('the client is gone')));
      waiting.forEach((tell) => tell());
      waiting = [];
    });

  return {
    begin(context) {
      const family = randomBytes(8).toString('base64url');
      families.set(family, { context, revoked: false });
      return issue(family);
    },
    /** Answers a refresh; `make` makes the tokens of a family but the refresh token. */
    async refresh(request, form, make) {
      counts.sent += 1;
      if (control.hold === 'before') await hold(request);
      if (control.status !== undefined) return { status: control.status, body: { error: 'server_error' } };
      const known = tokens.get(form.get('refresh_token'));
      const family = families.get(known?.family);
      if (known?.used) {
        counts.reused += 1;
        family.revoked = true;
      }
      if (family === undefined || family.revoked) return { status: 400, body: { error: 'invalid_grant' } };
      known.used = true;
      counts.rotated += 1;
      const body = { ...make(family.context, control.claims), refresh_token: issue(known.family), ...control.token };
      if (control.hold === 'after') await hold(request);
      return { headers: { 'cache-control': 'no-store' }, body };
    },
    /** Answers the paths by which a test steers it; undefined for others. */
    async answer(target, told) {
      switch (target) {
        case 'GET /refreshes':
          return { body: counts };
        case 'POST /refreshing':
          control = told();
          return { status: 204 };
        case 'POST /release':
          control = {};
          held.forEach((done) => done());
          held = [];
          return { status: 204 };
        case 'GET /held':
          // Answered when somebody is.
          if (held.length === 0) await new Promise((tell) => waiting.push(tell));
          return { status: 204 };
        default:
          return undefined;
      }
    },
  };
}
