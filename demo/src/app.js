// A front end behind airside. The session is a cookie that no script sees; there is no token here.
const byId = (id) => document.getElementById(id);
const say = (text) => { byId('status').textContent = text; };

/** To the login, and back to this very address, its fragment included. Never returns. */
function signIn(request) {
  const query = new URLSearchParams({
    for: request, // what was refused: it may want a fresher or stronger sign-in
    return_to: location.pathname + location.search + location.hash,
  });
  location.assign(`/auth/login?${query}`);
  return new Promise(() => {});
}

/** `fetch` for a person: where the session is missing or over, a sign-in comes first. */
async function call(path, options) {
  const request = `${options?.method ?? 'GET'} ${path}`;
  const answer = await fetch(path, options);
  // Back from a sign-in that did not help: say so, rather than go round for ever.
  const again = sessionStorage.getItem('signing-in') === request;
  if (again) sessionStorage.removeItem('signing-in');
  if (answer.status !== 401) return answer;
  if (again) throw new Error('The sign-in did not help. Are cookies blocked?');
  sessionStorage.setItem('signing-in', request);
  return signIn(request);
}

/** Nothing of the last person stays on the screen. */
function signedOut() {
  byId('rows').replaceChildren();
  say('You are signed out. Reload signs in again.');
}

/** Signed out in another tab, or at the provider? Looks, and leaves the page where it is. */
async function look() {
  if ((await fetch('/auth/session')).status === 401) signedOut();
}

async function load() {
  const session = await (await call('/auth/session')).json();
  const answer = await call('/api/invoices/');
  if (!answer.ok) return say(`The API answered ${answer.status}.`);
  const rows = (await answer.json()).invoices.map(({ number, customer }) => {
    const row = document.createElement('tr');
    for (const text of [number, customer]) row.insertCell().textContent = text;
    return row;
  });
  byId('rows').replaceChildren(...rows);
  say(`Signed in as ${session.claims.name ?? session.subject}.`);
  setTimeout(look, (session.expires_in + 1) * 1000);
}

const start = () => load().catch((error) => say(error.message));
byId('reload').addEventListener('click', start);
document.addEventListener('visibilitychange', () => document.hidden || look());
start();
