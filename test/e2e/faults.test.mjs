/* Any system call may fail, and so may memory: each call of each scenario in turn. One connection may end by it, cleanly;
 * siolb stays, nobody else notices, and nothing is left behind. FAULT=send:3:EPIPE plays that case of each scenario. */
import assert from "node:assert/strict";
import test from "node:test";
import { gzipSync } from "node:zlib";

import { openPacket } from "./lib/http.mjs";
import { faultRig } from "./lib/rig.mjs";
import { get, post, response } from "./lib/scripted.mjs";

const ONLY = process.env.FAULT?.split(":");

/* What a call can fail with (its manual page, and what this kernel does): without harm for anybody, */
const HARMLESS = {
  accept4: ["EINTR", "ECONNABORTED", "EPERM", "EPROTO"],
  close: ["EINTR", "EIO"],
  epoll_wait: ["EINTR"],
  getsockopt: ["ENOBUFS"],
  ioctl: ["EINVAL"],
  recv: ["EINTR", "EAGAIN"],
  send: ["EINTR", "EAGAIN"],
  setsockopt: ["ENOMEM"],
};
/* ... and so that a connection may have to end. */
const HARMFUL = {
  calloc: ["ENOMEM"],
  connect: ["EAGAIN", "ENOBUFS", "EPERM"],
  epoll_ctl: ["ENOMEM", "ENOSPC"],
  malloc: ["ENOMEM"],
  mmap: ["ENOMEM"],
  realloc: ["ENOMEM"],
  recv: ["ECONNRESET", "ETIMEDOUT", "ENOMEM"],
  send: ["ECONNRESET", "EPIPE", "ETIMEDOUT", "ENOBUFS"],
  shutdown: ["ENOTCONN"],
  socket: ["EMFILE", "ENOBUFS", "ENOMEM"],
};

/* --- scenarios --- */

const words = (count, bytes) => Array.from({ length: count }, (_, n) => `${n}`.repeat(bytes));
const chunks = (...texts) => texts.map((text) => `${text.length.toString(16)}\r\n${text}\r\n`).join("");

async function gzipOpen({ sid, say }) {
  const body = gzipSync(openPacket(sid, { pingInterval: 600_000, pingTimeout: 60_000 })).toString("latin1");
  const head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n";
  await say(head + chunks(body.slice(0, 40)), `${chunks(body.slice(40))}0\r\n\r\n`);
}

/* Over the wire in several pieces, and more than one read or write takes. */
async function bigAnswer({ number, say }) {
  await say(response(`${number} `.repeat(70_000)));
}

async function chunkedAnswer({ number, say }) {
  const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  await say(head + chunks("x".repeat(700), `${number}`), `${chunks("y".repeat(300))}0\r\nTrailer: 1\r\n\r\n`);
}

/* Dies on the first connection that it is asked on; a GET is asked again. */
function diesOnce() {
  let has_died = false;
  return async ({ id, number, up, say }) => {
    if (has_died) return say(response(`${id} ${number} after all`));
    has_died = true;
    up.socket.destroy();
  };
}

async function halfAnswerAndReset({ up, owes }) {
  const whole = response("h".repeat(1000));
  owes(whole);
  await up.send(whole.slice(0, 500));
  await up.reset();
}

async function ends({ up }) {
  up.socket.end();
}

const SCENARIOS = {
  "a session is made, polls, posts and polls": async (rig) => {
    const client = await rig.client();
    const { sid, home } = await rig.handshake(client);
    await rig.poll(client, sid, home);
    await rig.post(client, sid, home, "p".repeat(3000));
    await rig.poll(await rig.client(), sid, home);
  },
  "a session is learned from a compressed answer in pieces": async (rig) => {
    const { sid, home } = await rig.handshake(await rig.client(), gzipOpen, "Accept-Encoding: gzip");
    await rig.poll(await rig.client(), sid, home);
  },
  "three requests in one segment": async (rig) => {
    const client = await rig.client();
    const requests = [1, 2, 3].map(() => rig.request((n) => get(`/piped?${n}`)));
    await rig.say(client, requests.map(({ text }) => text).join(""));
    for (const request of requests) await rig.answer(client, request);
  },
  "chunks both ways": async (rig) => {
    const client = await rig.client();
    const upload = (n) => `POST /chunked?${n} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${chunks("u".repeat(500), "v")}0\r\n\r\n`;
    for (let times = 0; times < 2; times++) await rig.ask(client, upload, { answer: chunkedAnswer });
  },
  "much both ways, to peers who take it in pieces": {
    limits: { send: 24_000 },
    step: 511,
    play: async (rig) => rig.ask(await rig.client(), (n) => post(`/big?${n}`, "0123456789".repeat(12_000)), { answer: bigAnswer }),
  },
  "a websocket that its client ends": async (rig) => {
    const client = await rig.client();
    await rig.tunnel(client, words(3, 400));
    await client.fin();
    await client.until("an end", () => client.end_seen);
  },
  "the websocket of a session, in pieces, that its client resets": {
    limits: { send: 900 },
    play: async (rig) => {
      const session = await rig.handshake(await rig.client());
      const client = await rig.client();
      await rig.tunnel(client, words(2, 2000), session);
      await client.reset();
    },
  },
  "a request that is sent again": async (rig) => {
    const client = await rig.client();
    for (const path of ["/one", "/other"]) await rig.get(client, path); /* a connection to each worker */
    await rig.get(client, "/dies", { answer: diesOnce() });
  },
  "a request that is refused": async (rig) => {
    const client = await rig.client();
    await rig.say(client, "GET /bare-lf HTTP/1.1\nHost: x\r\n\r\n");
    await client.fin();
    await rig.refused(client, 400);
  },
  "a client that ends behind its request": async (rig) => {
    const client = await rig.client();
    const request = rig.request((n) => get(`/last?${n}`));
    await rig.say(client, request.text);
    await client.fin();
    await rig.answer(client, request);
    await client.until("an end", () => client.end_seen);
  },
  "a worker that resets in the middle of its answer": {
    ends: "cut",
    play: async (rig) => rig.get(await rig.client(), "/half", { answer: halfAnswerAndReset }),
  },
  "a worker that ends without an answer": {
    ends: "cut",
    play: async (rig) => rig.ask(await rig.client(), (n) => post(`/none?${n}`, "body"), { answer: ends }),
  },
  "a client that resets while it waits": async (rig) => {
    const client = await rig.client();
    let asked;
    const came = new Promise((resolve) => (asked = resolve));
    const request = rig.request((n) => get(`/left?${n}`), { answer: async ({ up }) => asked(up) });
    await rig.say(client, request.text);
    const up = await Promise.race([came, client.until("an end", () => client.end_seen || client.has_bytes)]);
    await client.reset();
    if (up) await up.until("an end", () => up.end_seen);
  },
};

for (const [name, given] of Object.entries(SCENARIOS)) {
  SCENARIOS[name] = { limits: {}, ends: "whole", step: 1, ...(typeof given === "function" ? { play: given } : given) };
}

/* --- each in turn --- */

/** Play it with these plans ({ call: plan }); how it ended, and how often a call failed. */
async function playWith(rig, { play, limits }, plans) {
  rig.faults.clear();
  for (const [call, limit] of Object.entries(limits)) rig.faults.plan(call, { limit });
  for (const [call, plan] of Object.entries(plans)) rig.faults.plan(call, { limit: limits[call], ...plan });
  const seen = await rig.play(play);
  const hits = Object.keys(plans).reduce((sum, call) => sum + rig.faults.hits(call), 0);
  const counts = rig.faults.counts();
  rig.faults.clear();
  return { seen, hits, counts };
}

/** How often a scenario makes each call, once all is warm. */
async function dryRun(rig, scenario) {
  let counts;
  for (let n = 0; n < 3; n++) {
    const dry = await playWith(rig, scenario, {});
    assert.equal(dry.seen, scenario.ends);
    await rig.settle("without a fault");
    counts = dry.counts;
  }
  return counts;
}

/** [[call, error, at]]: each error of each call at each of its places. */
function casesOf(table, counts) {
  const places = (call) => Array.from({ length: counts[call] }, (_, n) => n + 1);
  const all = Object.entries(table).flatMap(([call, errors]) => errors.flatMap((error) => places(call).map((at) => [call, error, at])));
  return ONLY ? all.filter(([call, error, at]) => `${[call, at, error]}` === `${ONLY}`) : all;
}

for (const [name, scenario] of Object.entries(SCENARIOS)) {
  test(`each call in turn fails: ${name}`, async (t) => {
    const rig = await faultRig(t);
    const counts = await dryRun(rig, scenario);
    let hits = 0;
    let cases = 0;
    for (const table of [HARMLESS, HARMFUL]) {
      for (const [call, error, at] of casesOf(table, counts)) {
        const what = `${call}:${at}:${error}`;
        const end = await playWith(rig, scenario, { [call]: { at, errors: [error] } }).catch((cause) => {
          throw new Error(`${what}: ${cause.message}`, { cause });
        });
        if (table === HARMLESS) assert.equal(end.seen, scenario.ends, what);
        await rig.settle(what);
        cases++;
        hits += end.hits;
      }
    }
    assert.ok(ONLY || hits > 0.8 * cases, `${hits} of ${cases} calls were made, and failed`);
  });

  test(`byte by byte, and after every second call again: ${name}`, async (t) => {
    const rig = await faultRig(t);
    for (const [what, plans] of Object.entries({
      "one byte a receive": { recv: { limit: scenario.step } },
      "one byte a send": { send: { limit: scenario.step } },
      "one byte each": { recv: { limit: scenario.step }, send: { limit: scenario.step } },
      "every second would block": { recv: { every: 2, errors: ["EAGAIN"] }, send: { every: 2, errors: ["EAGAIN"] } },
      "every second is interrupted": Object.fromEntries(["recv", "send", "accept4", "epoll_wait", "close"].map((call) => [call, { every: 2, errors: ["EINTR"] }])),
    })) {
      const { seen, hits } = await playWith(rig, scenario, plans);
      assert.equal(seen, scenario.ends, what);
      assert.ok(hits > 0 || plans.recv?.limit || plans.send?.limit);
      await rig.settle(what);
    }
  });
}
