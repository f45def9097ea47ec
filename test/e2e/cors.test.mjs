/* What siolb remembers of the grants of its workers, answer by answer; what a browser makes of it: browser-cors. */
import assert from "node:assert/strict";
import test from "node:test";

import { answers, get, HANDSHAKE, openAnswer, rawClient, response, scriptedWorker } from "./lib/scripted.mjs";
import { siolb } from "./lib/siolb.mjs";

const APP = "https://app.example";
const OTHER = "https://other.example";
const CREDENTIALS = "Access-Control-Allow-Credentials: true";
const PATHS = ["/socket.io/", "/chat/"];

const allows = (origin) => `Access-Control-Allow-Origin: ${origin}`;
const asks = (origin, target = HANDSHAKE) => get(target, `Origin: ${origin}`);
const preflight = (origin) => asks(origin).replace("GET", "OPTIONS");

/** One worker answers each of `answered` ([request, fields of the answer, its status]), then its port is refused. */
async function siolbThatSaw(t, answered) {
  const worker = await scriptedWorker(t, {
    script: async (up, number) => {
      await up.head();
      const [, fields, status] = answered[number];
      await up.fin(response("x", { status, fields: [...fields, "Connection: close"] }));
    },
  });
  const lb = await siolb(t, { workers: [worker], proxy: { path: PATHS } });
  for (const [request] of answered) {
    const client = await rawClient(t, lb);
    await client.send(request);
    assert.match((await client.rest()).text, /\r\n\r\nx$/, "the worker's answer");
  }
  assert.equal(worker.connections, answered.length);
  worker.refuse();
  return lb;
}

/** The lines of siolb's own 503 that a browser looks at. */
async function mirrored(t, lb, request) {
  const client = await rawClient(t, lb);
  await client.send(request);
  const { status, head } = await client.response();
  assert.equal(status, 503);
  return head.split("\r\n").filter((line) => /^(Access-Control-|Vary)/i.test(line));
}

const NOTHING = [];
const FULL = [allows(APP), CREDENTIALS, "Vary: Origin"];
const PLAIN = [allows(APP), "Vary: Origin"];

for (const [what, answered, request, lines] of [
  ["a grant is mirrored", [[asks(APP), [allows(APP), CREDENTIALS]]], asks(APP), FULL],
  ["the names of fields count in any case", [[get(HANDSHAKE, `oRIGIN: ${APP}`), [`aCCESS-cONTROL-aLLOW-oRIGIN: ${APP}`]]], asks(APP), PLAIN],
  ["an origin counts as it is written", [[asks(APP), [allows(APP)]]], asks("https://APP.example"), NOTHING],
  ["credentials are allowed by the word true alone", [[asks(APP), [allows(APP), "Access-Control-Allow-Credentials: True"]]], asks(APP), PLAIN],
  ["the origin null is granted only by null", [[asks("null"), [allows("null")]]], asks("null"), [allows("null"), "Vary: Origin"]],
  ["null is no grant to an origin with a name", [[asks(APP), [allows("null")]]], asks(APP), NOTHING],
  ["a grant to everybody is not widened by credentials", [[asks(APP), [allows("*")]]], asks(APP), [allows("*")]],
  ["a grant under one path holds for no other", [[asks(APP, "/chat/?EIO=4&transport=polling"), [allows(APP)]]], asks(APP), NOTHING],
  ["a grant ends with the next success without it", [[asks(APP), [allows(APP)]], [asks(APP), []]], asks(APP), NOTHING],
  ["credentials end with the next grant without them", [[asks(APP), [allows(APP), CREDENTIALS]], [asks(APP), [allows(APP)]]], asks(APP), PLAIN],
  ["a success of another origin leaves a grant alone", [[asks(APP), [allows(APP)]], [asks(OTHER), []]], asks(APP), PLAIN],
  ["a success without an origin leaves a grant alone", [[asks(APP), [allows(APP)]], [get(HANDSHAKE), []]], asks(APP), PLAIN],
  ["an error leaves a grant alone", [[asks(APP), [allows(APP)]], [asks(APP), [], "400 Bad Request"]], asks(APP), PLAIN],
  ["an error grants nothing", [[asks(APP), [allows(APP)], "400 Bad Request"]], asks(APP), NOTHING],
  ["an answer to a preflight grants no reading", [[preflight(APP), [allows(APP), CREDENTIALS]]], asks(APP), NOTHING],
  ["an answer to a preflight takes no grant away", [[asks(APP), [allows(APP)]], [preflight(APP), []]], asks(APP), PLAIN],
  ["the client's script grants nothing", [[asks(APP, "/socket.io/socket.io.js"), [allows("*")]]], asks(APP), NOTHING],
  ["the client's script takes no grant away", [[asks(APP), [allows(APP)]], [asks(APP, "/socket.io/socket.io.js"), []]], asks(APP), PLAIN],
  ["two grants in one answer are none", [[asks(APP), [allows(APP), allows(APP)]]], asks(APP), NOTHING],
  ["credentials that are allowed twice are not allowed", [[asks(APP), [allows(APP), CREDENTIALS, CREDENTIALS]]], asks(APP), PLAIN],
  ["a request of two origins takes no grant away", [[asks(APP), [allows(APP)]], [get(HANDSHAKE, `Origin: ${APP}`, `Origin: ${OTHER}`), []]], asks(APP), PLAIN],
  ["a request of two origins is granted nothing", [[asks(APP), [allows(APP)]]], get(HANDSHAKE, `Origin: ${APP}`, `Origin: ${OTHER}`), NOTHING],
]) {
  test(`CORS: ${what}`, async (t) => {
    const lb = await siolbThatSaw(t, answered);
    assert.deepEqual(await mirrored(t, lb, request), lines);
  });
}

test("CORS: a page may read that it begins too many sessions", async (t) => {
  const granting = () => openAnswer("w0").replace("\r\n", `\r\n${allows(APP)}\r\n`);
  const worker = await scriptedWorker(t, { script: answers(granting) });
  const lb = await siolb(t, { workers: [worker], limits: { handshakes_per_address: 1 } });
  const client = await rawClient(t, lb);
  const count = 50;
  await client.send(asks(APP).repeat(count));
  const heads = {};
  for (let n = 0; n < count; n++) {
    const { status, head } = await client.response();
    heads[status] = head;
  }
  assert.match(heads[429], new RegExp(`\r\n${allows(APP)}\r\n`));
});
