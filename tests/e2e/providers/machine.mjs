// What a forge answers to machines: introspection (RFC 7662), client_credentials (RFC 6749
// section 4.4) and token exchange (RFC 8693), each as it is told.
//
// `POST /answers` says how from now on:
//   {"introspection": {"<token>": {"members": {"active": true, ...}, "status": 500, "body": "x",
//                                  "hang": true}},
//    "grant": {"members": {"expires_in": 1, "token_type": null}, "status": 400, "hang": true}}
// A token that nobody told about is not active. A granted token names what it was asked for:
// `<audience>.<subject token or machine>.<number>`.

import { overlay } from './mint.mjs';

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';

export function machine() {
  let answers = {};
  let granted = 0;

  const told = ({ members = {}, status = 200, body, hang }, right) =>
    hang ? new Promise(() => {}) : { status, body: body ?? overlay(right, members) };

  return {
    tell: (next) => {
      answers = next;
      return { status: 204 };
    },
    introspect: (form) => told(answers.introspection?.[form.get('token')] ?? {}, { active: false }),
    grant: (form) => {
      granted += 1;
      const subject = form.get('subject_token') ?? 'machine';
      return told(answers.grant ?? {}, {
        access_token: `${form.get('audience')}.${subject}.${granted}`,
        token_type: 'Bearer',
        expires_in: 300,
        ...(form.has('subject_token') && { issued_token_type: ACCESS_TOKEN }),
      });
    },
  };
}
