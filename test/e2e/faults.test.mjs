/* Any system call may fail, and so may memory: each call of each scenario in turn. One connection may end by it, cleanly;
 * siolb stays, nobody else notices, and nothing is left behind. FAULT=send:3:EPIPE plays that case of each scenario. */
import assert from "node:assert/strict";
import test from "node:test";
import { gzipSync } from "node:zlib";

import { connect, POLLING, UPGRADING, WEBSOCKET } from "./lib/clients.mjs";
import { defer, within } from "./lib/defer.mjs";
import { faultySiolb, startFaulty } from "./lib/faults.mjs";
import { fleet } from "./lib/fleet.mjs";
import { openPacket } from "./lib/http.mjs";
import { faultRig } from "./lib/rig.mjs";
import { get, GET, post, rawClient, response, scriptedWorker } from "./lib/scripted.mjs";
import { is_sanitized } from "./lib/siolb.mjs";

const PLACES_MAX = 12; /* of a call in a scenario */
const ROUNDS = 60;
const ODDS = 40;
const END_MS = 20_000;
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
  "a known session whose worker has to be connected to": {
    except: ["ETIMEDOUT"] /* a first send that times out is a connect that did: the session is given up (DESIGN 4) */,
    play: async (rig) => rig.poll(await rig.client(), rig.sidAt("w1"), "w1"),
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
    calls: ["ioctl", "shutdown", "close"] /* the RST waits for the tick */,
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

/** 1 to `count`; of many all of the first, all of the last, and some between. */
function placesOf(count) {
  const all = Array.from({ length: count }, (_, n) => n + 1);
  return all.filter((n) => n <= PLACES_MAX / 2 || n > count - PLACES_MAX / 4 || n % Math.ceil((4 * count) / PLACES_MAX) === 0);
}

/** [[call, error, at]]: each error of each call at each of its places. */
function casesOf(table, counts, { calls = Object.keys(table), except = [] }) {
  const rows = Object.entries(table).filter(([call]) => calls.includes(call));
  const all = rows.flatMap(([call, errors]) => errors.filter((error) => !except.includes(error)).flatMap((error) => placesOf(counts[call]).map((at) => [call, error, at])));
  return ONLY ? all.filter(([call, error, at]) => `${[call, at, error]}` === `${ONLY}`) : all;
}

for (const [name, scenario] of Object.entries(SCENARIOS)) {
  test(`each call in turn fails: ${name}`, async (t) => {
    const rig = await faultRig(t);
    const counts = await dryRun(rig, scenario);
    let hits = 0;
    let cases = 0;
    for (const table of [HARMLESS, HARMFUL]) {
      for (const [call, error, at] of casesOf(table, counts, scenario)) {
        const what = `${call}:${at}:${error}`;
        const end = await playWith(rig, scenario, { [call]: { at, errors: [error] } }).catch((cause) => {
          throw new Error(`${what}: ${cause.message}`, { cause });
        });
        assert.ok(end.counts.epoll_wait <= 10 * counts.epoll_wait + 100, `${what}: ${end.counts.epoll_wait} polls instead of ${counts.epoll_wait}`);
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

/* --- what has a test of its own --- */

const plain = (play) => ({ play, limits: {}, ends: "whole" });
const ask = plain(async (rig) => rig.get(await rig.client()));

test("no descriptor for a client: accepting pauses, and the client is served when there is one again", async (t) => {
  const rig = await faultRig(t);
  const { seen, hits } = await playWith(rig, ask, { accept4: { at: 1, times: 2, errors: ["EMFILE"] } });
  assert.deepEqual([seen, hits], ["whole", 2], "the tick looks again");
  await rig.settle("EMFILE");
  let pauses = 2;
  for (const error of ["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS"]) {
    const leaves = await rig.client();
    await rig.lb.untilMetrics((m) => m.clients === 1);
    rig.faults.plan("accept4", { at: 1, errors: [error] });
    const waits = await rig.client();
    const request = rig.request((n) => get(`/waits?${n}`));
    await rig.say(waits, request.text);
    await rig.lb.untilMetrics((m) => m.accept_pauses_total === pauses + 1);
    leaves.socket.destroy();
    await rig.answer(waits, request);
    rig.faults.clear();
    rig.hangUp();
    await rig.settle(error);
    assert.equal(await rig.lb.metric("accept_pauses_total"), ++pauses, error);
  }
});

test("no descriptor, but an idle connection to a worker: that one is given up, for a client or for another worker", async (t) => {
  const rig = await faultRig(t);
  for (const call of ["accept4", "socket"]) {
    const client = await rig.client();
    const idle_at = (await rig.get(client)).slice(0, 2);
    assert.equal(await rig.lb.metric("upstreams_idle"), 1);
    const other = idle_at === "w0" ? "w1" : "w0";
    rig.faults.plan(call, { at: 1, errors: ["EMFILE"] });
    await rig.poll(call === "socket" ? client : await rig.client(), rig.sidAt(other), other);
    assert.equal(rig.faults.hits(call), 1);
    assert.equal(await rig.lb.metric("upstreams_idle"), 1, "the new one, and the old one no more");
    rig.faults.clear();
    rig.hangUp();
    await rig.settle(call);
  }
  assert.equal(await rig.lb.metric("accept_pauses_total"), 0);
});

test("a worker that cannot be connected to: a newcomer goes to another one", async (t) => {
  const rig = await faultRig(t);
  for (const error of ["ECONNREFUSED", "ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH"]) {
    const { seen, hits } = await playWith(rig, ask, { connect: { at: 1, errors: [error] } });
    assert.deepEqual([seen, hits], ["whole", 1], error);
    await rig.settle(error, { keeps_sessions: error !== "ECONNREFUSED" });
  }
  const all = await playWith(rig, ask, { connect: { at: 1, times: 2, errors: ["ECONNREFUSED"] } });
  assert.deepEqual([all.seen, all.hits], ["reply", 2]);
  await rig.settle("all refuse", { keeps_sessions: false });
});

test("no port for a connection: another source address is taken; when there is none the client gets 503 and keeps its session", async (t) => {
  const rig = await faultRig(t);
  const no_port = { connect: { at: 1, errors: ["EADDRNOTAVAIL"] } };
  const session = plain((rig) => SCENARIOS["a known session whose worker has to be connected to"].play(rig));
  const none = await playWith(rig, session, { ...no_port, bind: { at: 1, errors: ["EADDRINUSE"] } });
  assert.deepEqual([none.seen, none.hits], ["reply", 2]);
  await rig.settle("no address");
  const other = await playWith(rig, session, no_port);
  assert.deepEqual([other.seen, other.hits], ["whole", 1]);
  assert.ok(other.counts.bind >= 1);
  await rig.settle("another address");
});

test("no memory for the first of each kind: one connection ends", { skip: is_sanitized && "nothing is pooled there" }, async (t) => {
  for (const at of [1, 2, 3, 4]) {
    const rig = await faultRig(t, { fresh: true });
    rig.faults.plan("mmap", { at, errors: ["ENOMEM"] });
    const seen = [];
    for (let n = 0; n < 2; n++) seen.push(await rig.play(async () => rig.tunnel(await rig.client(), words(2, 10))));
    assert.deepEqual([seen[0] === "whole", seen[1], rig.faults.hits("mmap")], [false, "whole", 1], `${at}`);
    rig.faults.clear();
    await rig.begin();
    await rig.settle(`mmap:${at}`);
  }
});

test("no memory for a timer: it is armed later, and a silent client is closed all the same", async (t) => {
  const silent = async (at) => {
    const { lb, faults } = await faultySiolb(t, { workers: ["127.0.0.1:1"], timeouts: { head: "1s" } });
    faults.clear();
    faults.plan("realloc", { at, errors: ["ENOMEM"] });
    const clients = await Promise.all(Array.from({ length: 40 }, () => rawClient(t, lb)));
    for (const client of clients) assert.equal(await client.ended(), "fin");
    await lb.untilMetrics((m) => m.clients === 0);
    return faults.hits("realloc");
  };
  const hits = await Promise.all([1, 2, 3, 4].map(silent));
  assert.deepEqual(hits, [1, 1, 1, 1]);
});

test("no memory for the timer of a drain: it ends at once", async (t) => {
  const { lb, faults } = await faultySiolb(t, { workers: [await scriptedWorker(t)], timeouts: { drain: "60s" } });
  const clients = [];
  /* the tick is the first of eight timers that fit, a drain's would be the ninth */
  for (let n = 0; n < 7; n++) {
    clients.push(await rawClient(t, lb));
    await clients[n].send(GET);
  }
  await lb.untilMetrics((m) => m.exchanges === 7);
  faults.clear();
  faults.plan("realloc", { at: 1, times: 9, errors: ["ENOMEM"] });
  lb.signal("SIGTERM");
  assert.deepEqual(await within(END_MS, "siolb to end", lb.exit), { status: 0, signal: null });
  for (const client of clients) assert.match(await client.ended(), /fin|reset/);
});

test("log lines that cannot be written are lost and counted, and stop nothing", async (t) => {
  const rig = await faultRig(t, { log: { access: "on" } });
  const asks = plain(async (rig) => {
    const client = await rig.client();
    for (let n = 0; n < 3; n++) await rig.get(client);
  });
  for (const [error, lost] of [["EINTR", 0], ["EAGAIN", 1], ["ENOSPC", 1], ["EIO", 1], ["EPIPE", 1]]) {
    for (const times of [1, 2]) {
      const from = rig.lb.log.length;
      const { seen, hits } = await playWith(rig, asks, { write: { at: 1, times, errors: [error] } });
      assert.deepEqual([seen, hits], ["whole", times], error);
      await rig.settle(error);
      const lines = rig.lb.log.slice(from);
      const said = lines.filter((line) => line.text.includes("log lost")).reduce((sum, line) => sum + Number(line.lines), 0);
      assert.equal(said, lost * times, error);
      assert.equal(lines.filter((line) => line.event === "access" && line.path === "/plain").length, 3 - said);
    }
  }
  const from = rig.lb.log.length;
  await playWith(rig, asks, { write: { limit: 7 } });
  const lines = rig.lb.log.slice(from);
  assert.equal(lines.filter((line) => line.event === "access" && line.path === "/plain").length, 3, "seven bytes a write");
});

test("a start that fails says why and ends with 1, whichever call it was", async (t) => {
  const { counts } = await startFaulty(t, "");
  const fatal = { bind: "EADDRINUSE", socket: "EMFILE", listen: "EADDRINUSE", epoll_create: "EMFILE", pipe: "EMFILE" };
  const perhaps = { calloc: "ENOMEM", malloc: "ENOMEM", realloc: "ENOMEM", mmap: "ENOMEM", epoll_ctl: "ENOSPC", setsockopt: "ENOMEM" };
  const harmless = { getsockname: "ENOBUFS", open: "EMFILE", close: "EINTR" };
  const cases = [fatal, perhaps, harmless].flatMap((table) =>
    Object.entries(table).flatMap(([call, error]) => Array.from({ length: counts[call] }, (_, n) => ({ table, what: `${call}:${n + 1}:${error}${table === fatal ? ":9" : ""}` }))),
  );
  assert.ok(cases.length > 30);
  const one = async () => {
    for (let next; (next = cases.pop()); ) {
      const { status, signal, is_ready, text } = await startFaulty(t, next.what);
      const shown = `${next.what}: ${text}`;
      assert.deepEqual([status, signal], [is_ready ? 0 : 1, null], shown);
      if (next.table === fatal) assert.ok(!is_ready, shown);
      if (next.table === harmless) assert.ok(is_ready, shown);
      if (!is_ready) assert.match(text, /out of memory|Cannot allocate memory|Too many open files|Address already in use|No space left/, shown);
      const odd = text.split("\n").filter((line) => !/^(\d{4}-\S+Z (error|warn|info) |siolb: |\/|$)/.test(line));
      assert.deepEqual(odd, [], shown);
    }
  };
  await Promise.all([one(), one(), one(), one()]);
});

test("a whole chat byte by byte: polling, upgrade and websocket, of both protocols", async (t) => {
  const workers = await fleet(t, 2);
  const old = await fleet(t, 2, { version: 2 });
  for (const [version, fleets] of [[4, workers], [2, old]]) {
    const { lb, faults } = await faultySiolb(t, { workers: fleets });
    faults.plan("recv", { limit: 1 });
    faults.plan("send", { limit: 1 });
    for (const transports of [POLLING, UPGRADING, WEBSOCKET]) {
      const client = await connect(t, lb.url, { version, ...transports });
      await client.talk(20, { payload: "äöü€".repeat(20) });
      if (transports === UPGRADING) await client.upgraded();
      await client.talk(20, { payload: "€".repeat(50) });
      await client.listen(5, "to you");
      client.close();
    }
    faults.clear();
    await lb.untilMetrics((m) => m.clients + m.exchanges + m.tunnels + m.buffered_bytes === 0);
  }
});

test("everything fails now and then for hundreds of requests: siolb stays, and nothing is left", async (t) => {
  const seed = Number(process.env.FAULT_SEED) || 20_240_611;
  defer(t, () => t.passed || console.error(`FAULT_SEED=${seed}`));
  const rig = await faultRig(t);
  const scenarios = Object.entries(SCENARIOS).filter(([, { limits, calls, except }]) => !calls && !except && !limits.send);
  rig.faults.seed = seed;
  let hits = 0;
  let whole = 0;
  let played = 0;
  for (let round = 0; round < ROUNDS; round++) {
    rig.faults.clear();
    for (const [call, errors] of Object.entries(HARMFUL)) rig.faults.plan(call, { odds: ODDS, errors: [...errors, ...(HARMLESS[call] ?? [])] });
    for (const [call, errors] of Object.entries(HARMLESS)) if (!HARMFUL[call]) rig.faults.plan(call, { odds: ODDS, errors });
    /* not ETIMEDOUT: as a first send's it is a connect's, and gives sessions up and its worker a rest */
    rig.faults.plan("send", { odds: ODDS, errors: [...HARMLESS.send, ...HARMFUL.send.filter((error) => error !== "ETIMEDOUT")] });
    rig.faults.plan("accept4", { odds: 4 * ODDS, errors: [...HARMLESS.accept4, "EMFILE", "ENFILE"] });
    const seen = await Promise.all(scenarios.map(([, { play }]) => rig.attempt(play)));
    rig.hangUp();
    await rig.lb.metrics();
    hits += [...Object.keys(HARMFUL), ...Object.keys(HARMLESS)].reduce((sum, call) => sum + rig.faults.hits(call), 0);
    rig.faults.clear();
    whole += seen.filter((how) => how === "whole").length;
    played += seen.length;
    await rig.settle(`round ${round}`);
  }
  assert.ok(hits > ROUNDS && whole > played / 4 && whole < played, `${hits} faults; ${whole} of ${played} went through`);
});
