// Several providers, who may come in, logins that a third party initiates, and ways of going
// astray: each ends on a page from which one click goes on.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Browser, NAVIGATE, forge, loginAtOidcProvider, oidcProvider, request, scenario } from './harness.mjs';

const post = (url, body) => request(url, { method: 'POST', body: JSON.stringify(body) });

describe('two providers', () => {
  let app, second;
  before(async () => {
    app = await scenario({
      more: [forge],
      edit: (text, url) => `${text}
[providers.second]
title = "Second & Sons"
issuer = "${url}"
client_id = "airside-forge"
client_authentication = "none"
`,
    });
    [second] = app.others;
  });
  after(() => app.stop());

  test('are a choice, each with a redirect_uri of its own', async () => {
    const browser = new Browser();
    const chooser = await browser.go(`${app.url}/invoices`);
    assert.equal(chooser.status, 200);
    assert.match(chooser.text, /Sign in with Second &amp; Sons/);
    assert.equal(browser.jar(app.url).size, 0, 'no attempt before the choice');
    const [, link] = /href="([^"]*provider=second[^"]*)"/.exec(chooser.text);
    const page = await browser.go(app.url + link.replaceAll('&amp;', '&'));
    assert.equal(page.url, `${app.url}/invoices`);
    assert.ok(page.visited.some((url) => url.startsWith(`${app.url}/auth/callback/second?`)), page.visited.join('\n'));
    const session = (await browser.send(`${app.url}/auth/session`)).json();
    assert.equal(session.issuer, second.url);
  });

  test('that the first one is used too', async () => {
    const browser = new Browser();
    const login = await browser.go(`${app.url}/auth/login?provider=demo&return_to=/invoices`);
    const page = await browser.submit(login, 'value="alice"');
    assert.equal(page.url, `${app.url}/invoices`);
    assert.ok(page.visited.some((url) => url.startsWith(`${app.url}/auth/callback/demo?`)));
  });

  test('never take a code of the one for the other', async () => {
    const browser = new Browser();
    const login = await browser.send(`${app.url}/auth/login?provider=second`);
    const answer = new URL((await browser.send(login.headers.location)).headers.location);
    const since = app.gate.events.length;
    for (const [path, status] of [['/auth/callback/demo', 400], ['/auth/callback', 404]]) {
      const page = await browser.send(`${app.url}${path}${answer.search}`);
      assert.equal(page.status, status, path);
      assert.ok(!browser.jar(app.url).has('__Host-airside'));
    }
    await app.gate.logged('callback_path', since);
    // The nearest twin: the same attempt, had it come to its own.
    const again = await browser.go(`${app.url}/auth/login?provider=second&return_to=/invoices`);
    assert.equal(again.url, `${app.url}/invoices`);
  });

  test('may be chosen by a third party, by link or form', async () => {
    const target = `${app.url}/invoices?page=2`;
    const query = new URLSearchParams({ iss: second.url, login_hint: 'x', target_link_uri: target }).toString();
    const byLink = await new Browser().go(`${app.url}/auth/login?${query}`);
    assert.equal(byLink.url, target);
    const byForm = await new Browser().go(`${app.url}/auth/login`, {
      method: 'POST',
      body: query,
      headers: { 'content-type': 'application/x-www-form-urlencoded', 'sec-fetch-site': 'cross-site' },
    });
    assert.equal(byForm.url, target);
    for (const [change, code] of [
      [{ iss: 'https://evil.example' }, 'unknown_provider'],
      [{ target_link_uri: 'https://evil.example/' }, 'target_link_uri'],
    ]) {
      const since = app.gate.events.length;
      const bad = new URLSearchParams({ iss: second.url, target_link_uri: target, ...change }).toString();
      const page = await request(`${app.url}/auth/login?${bad}`, { headers: NAVIGATE });
      assert.equal(page.status, 400);
      assert.deepEqual(page.cookies, []);
      assert.match(page.text, /class="button"/);
      await app.gate.logged(code, since);
    }
  });
});

describe('who may come in', () => {
  let app;
  before(async () => {
    app = await scenario({
      make: forge,
      edit: (text) =>
        text
          .replace('client_id = "airside-demo"', 'client_id = "airside-forge"')
          .replace('"client_secret_basic"', '"none"')
          .replace(/^client_secret_variable.*\n/m, '')
          .replace(/^audience =/m, `email_domains = ["example.com"]
essential_claims = ["department"]
max_age_seconds = 600
acr_values = ["mfa"]
audience =`),
    });
  });
  after(() => app.stop());

  const good = { email: 'a@example.com', email_verified: true, department: 'x', acr: 'mfa', auth_time: { in: -30 } };
  const login = async (changes) => {
    await post(`${app.provider.url}/next`, { id_token: { claims: { ...good, ...changes } } });
    const browser = new Browser();
    const since = app.gate.events.length;
    const page = await browser.go(`${app.url}/auth/login?return_to=/assets/style.css`);
    return { browser, page, since, session: browser.jar(app.url).has('__Host-airside') };
  };

  test('is who fits', async () => {
    const { session, page } = await login({});
    assert.ok(session, page.text);
  });

  for (const [name, changes, code, status] of [
    ['of another domain', { email: 'a@evil.example' }, 'account_email_domain', 403],
    ['of a domain that ends alike', { email: 'a@evil-example.com' }, 'account_email_domain', 403],
    ['with two at signs', { email: 'a@evil.example@example.com' }, 'account_email_domain', 403],
    ['not verified', { email_verified: false }, 'account_email_unverified', 403],
    ['without an essential claim', { department: null }, 'account_essential_claim', 403],
    ['authenticated long ago', { auth_time: { in: -661 } }, 'id_token_auth_time', 400],
    ['that does not say when', { auth_time: null }, 'id_token_auth_time', 400],
    ['of a lower level', { acr: 'pwd' }, 'id_token_acr', 400],
  ]) {
    test(`is nobody ${name}`, async () => {
      const { browser, page, since, session } = await login(changes);
      assert.equal(page.status, status);
      assert.ok(!session);
      assert.equal(browser.jar(app.url).size, 0, 'no cookie is left behind');
      await app.gate.logged(code, since);
    });
  }

  test('may try again after each refusal of the provider, with one click and no loop', async () => {
    for (const [error, status] of [
      ['access_denied', 403],
      ['login_required', 403],
      ['temporarily_unavailable', 503],
      ['server_error', 503],
      ['<script>alert(1)</script>', 400],
    ]) {
      await post(`${app.provider.url}/next`, {
        authorization: { code: null, error, error_description: 'FREE TEXT', error_uri: 'https://evil.example' },
      });
      const browser = new Browser();
      const refused = await browser.go(`${app.url}/auth/login?return_to=/assets/style.css`);
      assert.equal(refused.status, status, error);
      assert.ok(!/FREE TEXT|evil\.example|<script/.test(refused.text), refused.text);
      assert.equal(browser.jar(app.url).size, 0, 'no cookie is left behind');
      const [, link] = /class="button" href="([^"]*)"/.exec(refused.text);
      await post(`${app.provider.url}/next`, { id_token: { claims: good } });
      const again = await browser.go(app.url + link.replaceAll('&amp;', '&'));
      assert.equal(again.url, `${app.url}/assets/style.css`, error);
    }
  });
});

test('max_age at oidc-provider', async () => {
  const app = await scenario({
    make: oidcProvider,
    edit: (text) =>
      text
        .replace('client_id = "airside-demo"', 'client_id = "airside-basic"')
        .replace(/^audience = "(.*)"$/m, 'max_age_seconds = 600\nresource = ["$1"]'),
  });
  const browser = new Browser();
  const page = await loginAtOidcProvider(browser, app.url);
  assert.equal(page.url, `${app.url}/invoices`, page.text);
  const session = (await browser.send(`${app.url}/auth/session`)).json();
  assert.equal(session.subject, 'alice');
  await app.stop();
});
