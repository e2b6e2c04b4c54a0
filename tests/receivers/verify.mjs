// A receiver in JavaScript: says of each request on its input which secrets and public keys it verifies under.
//
// Both schemes are checked by README.md's own lines, which stand beside this file as modules: `v1` with the reference
// library, `v1a` with Node.js's own crypto. A body that is not JSON is checked without parsing it.

import assert from "node:assert";
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";
import v1 from "./v1.mjs";
import v1a from "./v1a.mjs";

const { requests } = JSON.parse(readFileSync(0, "utf8"));

function byReadme(secret, body, headers) {
  assert.deepStrictEqual(v1(secret, body, headers), JSON.parse(body.toString()), "it gives another event");
}

function byLibrary(secret, body, headers) {
  new Webhook(secret).verify(body, headers, { jsonParse: false });
}

function verdict(verify, secret, request) {
  try {
    verify(secret, Buffer.from(request.body, "base64"), request.headers);
    return null;
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
}

const verdicts = requests.map((request) => ({
  v1: request.secrets.map((secret) => verdict(request.json ? byReadme : byLibrary, secret, request)),
  v1a: request.public_keys.map((key) => verdict(v1a, key, request)),
}));
process.stdout.write(JSON.stringify(verdicts));
