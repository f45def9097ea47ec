/* What teaches siolb a sid, what does not, and what a session cookie does. */
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import test from "node:test";
import { brotliCompressSync, gzipSync } from "node:zlib";

import { agent, openPacket, request, requestEach, webWorkers } from "./lib/http.mjs";
import { siolb } from "./lib/siolb.mjs";

const HANDSHAKE = "/socket.io/?EIO=4&transport=polling";
const withSid = (sid) => `${HANDSHAKE}&sid=${encodeURIComponent(sid)}`;
const has_sid = (req) => /[?&]sid=[^&]/.test(req.url);

/**
 * Four workers that answer a handshake with `handshake(res, sid)` and everything else with their id. Round-robin sends
 * a request that is not sticky to another worker than the one before.
 */
async function fleetAndLb(t, handshake, sticky = {}) {
  let minted = 0;
  const workers = await webWorkers(t, 4, (req, res, worker) => {
    if (req.url.startsWith("/socket.io/") && !has_sid(req) && req.method === "GET") {
      handshake(res, `${worker.id}-sid-${minted++}-0123456789`, req);
    } else {
      res.end(worker.id);
    }
  });
  const lb = await siolb(t, { workers, sticky, proxy: { balance: "round-robin" } });
  const kept = agent(t, 1);
  const ask = (target, options) => request(`${lb.url}${target}`, { agent: kept, ...options });
  return { workers, lb, ask };
}

/** Handshakes, then three requests with each sid: how many of them went to another worker than the handshake. */
async function strays(ask, count, sidOf) {
  const sessions = await requestEach(count, () => ask(HANDSHAKE));
  let strayed = 0;
  for (const session of sessions) {
    const again = await requestEach(3, () => ask(withSid(sidOf(session))));
    strayed += again.filter((answer) => answer.headers["x-worker"] !== session.headers["x-worker"]).length;
  }
  return strayed;
}

const sidOfCookie = (answer) => decodeURIComponent(/io=([^;]*)/.exec(answer.headers["set-cookie"].join("\n"))[1]);
const sidOfBody = (answer) => JSON.parse(answer.text.slice(answer.text.indexOf("{"))).sid;

function brotliHandshake(res, sid) {
  res.setHeader("Content-Encoding", "br");
  res.setHeader("Set-Cookie", ["theme=dark", `io=${encodeURIComponent(sid)}; Path=/; HttpOnly; SameSite=Lax`]);
  res.end(brotliCompressSync(openPacket(sid)));
}

test("a brotli handshake is learned from its Set-Cookie when the cookie is configured", async (t) => {
  const { lb, ask } = await fleetAndLb(t, brotliHandshake, { cookie: "io" });
  assert.equal(await strays(ask, 8, sidOfCookie), 0);
  const metrics = await lb.metrics();
  assert.equal(metrics.learned_cookie_total, 8);
  assert.equal(metrics.route_known_total, 24);
});

test("a brotli handshake without a configured cookie is counted and named once in the log", async (t) => {
  const { lb, ask } = await fleetAndLb(t, brotliHandshake);
  await requestEach(3, () => ask(HANDSHAKE));
  const metrics = await lb.metrics();
  assert.equal(metrics.learn_failed_encoded_total, 3);
  assert.equal(metrics.learned_cookie_total, 0);
  const hints = lb.log.filter((line) => line.level === "warn" && /\bbr\b|encod|coding|compress/i.test(line.text));
  assert.equal(hints.length, 1, "one hint for the operator, not one per handshake");
});

test("an unknown sid is sent by its hash: to the same worker each time, in every siolb", async (t) => {
  const { workers, lb, ask } = await fleetAndLb(t, (res) => res.end("no open packet"));
  const twin = await siolb(t, { workers });
  const sids = Array.from({ length: 40 }, (_, n) => `nobody-taught-us-${n}`);
  const targets = [];
  for (const sid of sids) {
    const answers = await requestEach(3, () => ask(withSid(sid)));
    answers.push(await request(`${twin.url}${withSid(sid)}`, { agent: false }));
    const who = new Set(answers.map((answer) => answer.headers["x-worker"]));
    assert.equal(who.size, 1);
    targets.push(...who);
  }
  assert.equal(new Set(targets).size, 4, "unknown sids spread over the fleet");
  const metrics = await lb.metrics();
  assert.equal(metrics.route_unknown_total, 120);
  assert.equal(metrics.sessions, 0, "an unknown sid creates no entry");
});

test("a sid is learned before the bytes that complete it are sent on, while the response still goes on", async (t) => {
  const unfinished = [];
  const open = (res, sid) => {
    res.write(openPacket(sid).replace(/"upgrades.*/, ""));
    unfinished.push(() => res.end('"pingInterval":25000}'));
  };
  const { lb, ask } = await fleetAndLb(t, open);
  for (let n = 0; n < 8; n++) {
    const [res] = await once(http.get(`${lb.url}${HANDSHAKE}`, { agent: false }), "response");
    const [head] = await once(res, "data");
    const again = await ask(withSid(JSON.parse(`${head.toString().slice(1, -1)}}`).sid));
    assert.equal(again.headers["x-worker"], res.headers["x-worker"]);
    unfinished.pop()();
    await once(res.resume(), "end");
  }
  assert.equal(await lb.metric("route_known_total"), 8);
});

test("a handshake body that arrives byte by byte, chunked, is learned", async (t) => {
  const slow = async (res, sid) => {
    for (const byte of openPacket(sid)) {
      res.write(byte);
      await new Promise(setImmediate);
    }
    res.end();
  };
  const { lb, ask } = await fleetAndLb(t, slow);
  assert.equal(await strays(ask, 8, sidOfBody), 0);
  assert.equal(await lb.metric("learned_plain_total"), 8);
});

test("a gzip body cut in two is learned", async (t) => {
  const halves = (res, sid) => {
    const body = gzipSync(openPacket(sid));
    res.setHeader("Content-Encoding", "gzip");
    res.setHeader("Content-Length", body.length);
    res.setHeader("x-sid", sid);
    res.write(body.subarray(0, 20), () => setImmediate(() => res.end(body.subarray(20))));
  };
  const { lb, ask } = await fleetAndLb(t, halves);
  assert.equal(await strays(ask, 8, (answer) => answer.headers["x-sid"]), 0);
  assert.equal(await lb.metric("learned_plain_total"), 8);
});

test("a binary Engine.IO 3 payload is learned", async (t) => {
  const binary = (res, sid) => {
    const packet = Buffer.from(openPacket(sid));
    res.setHeader("x-sid", sid);
    const digits = Buffer.from([...String(packet.length)].map(Number));
    res.end(Buffer.concat([Buffer.from([0]), digits, Buffer.from([255]), packet]));
  };
  const { lb, ask } = await fleetAndLb(t, binary);
  assert.equal(await strays(ask, 8, (answer) => answer.headers["x-sid"]), 0);
  assert.equal(await lb.metric("learned_binary_total"), 8);
});

test("only an open packet teaches: neither a namespace's 40{sid} nor an error nor the answer to a sid does", async (t) => {
  const bodies = {
    namespace: [200, '40{"sid":"namespace-0123456789"}'],
    later: [200, `4["x"]\x1e${openPacket("later-0123456789")}`],
    failed: [400, openPacket("failed-0123456789")],
    nested: [200, '0{"data":{"sid":"nested-0123456789"},"pingInterval":25000}'],
  };
  const teaches = (res, _sid, req) => {
    const [status, body] = bodies[/kind=(\w+)/.exec(req.url)[1]];
    res.writeHead(status);
    res.end(body);
  };
  const { lb, ask } = await fleetAndLb(t, teaches);
  for (const kind of Object.keys(bodies)) {
    await ask(`${HANDSHAKE}&kind=${kind}`);
    await ask(withSid(`${kind}-0123456789`));
  }
  const metrics = await lb.metrics();
  assert.equal(metrics.route_known_total, 0);
  assert.equal(metrics.route_unknown_total, 4);
  assert.equal(metrics.sessions, 0);
});

test("a session cookie sends plain HTTP to the session's worker, and the query's sid wins over it", async (t) => {
  const plain = (res, sid) => res.end(openPacket(sid));
  const { lb, ask } = await fleetAndLb(t, plain, { cookie: "io" });
  const [one, other] = await requestEach(2, () => ask(HANDSHAKE));
  assert.notEqual(one.headers["x-worker"], other.headers["x-worker"]);
  const cookie = { Cookie: `theme=dark; io=${sidOfBody(one)}; lang=en` };

  for (const answer of await requestEach(6, () => ask("/profile", { headers: cookie }))) {
    assert.equal(answer.headers["x-worker"], one.headers["x-worker"]);
  }
  assert.equal(await lb.metric("route_cookie_total"), 6);
  for (const answer of await requestEach(3, () => ask(withSid(sidOfBody(other)), { headers: cookie }))) {
    assert.equal(answer.headers["x-worker"], other.headers["x-worker"]);
  }
  const handshakes = await requestEach(4, () => ask(HANDSHAKE, { headers: cookie }));
  assert.equal(new Set(handshakes.map((answer) => answer.headers["x-worker"])).size, 4, "a new handshake is balanced");
  const preflights = await requestEach(4, () => ask("/profile", { method: "OPTIONS", headers: cookie }));
  assert.equal(new Set(preflights.map((answer) => answer.headers["x-worker"])).size, 4, "OPTIONS never follows a cookie");
  const strangers = await requestEach(4, () => ask("/profile", { headers: { Cookie: "io=unknown-0123456789" } }));
  assert.ok(strangers.every((answer) => answer.status === 200), "an unknown cookie is no error");
});

test("cookie_handshakes = on sends a new handshake to the worker of the cookie", async (t) => {
  const plain = (res, sid) => res.end(openPacket(sid));
  const { ask } = await fleetAndLb(t, plain, { cookie: "io", cookie_handshakes: "on" });
  const first = await ask(HANDSHAKE);
  const headers = { Cookie: `io=${sidOfBody(first)}` };
  for (const answer of await requestEach(5, () => ask(HANDSHAKE, { headers }))) {
    assert.equal(answer.headers["x-worker"], first.headers["x-worker"]);
  }
});

for (const [counts, at] of [
  ["last", 1],
  ["first", 0],
]) {
  test(`sid_repeated = ${counts}: of two sids in one query the ${counts} one routes`, async (t) => {
    const plain = (res, sid) => res.end(openPacket(sid));
    const { ask } = await fleetAndLb(t, plain, { sid_repeated: counts });
    const pair = await requestEach(2, () => ask(HANDSHAKE));
    const target = `${HANDSHAKE}&sid=${sidOfBody(pair[0])}&sid=${sidOfBody(pair[1])}`;
    assert.equal((await ask(target)).headers["x-worker"], pair[at].headers["x-worker"]);
  });
}

test("a worker that does not know a learned sid any more costs that one entry", async (t) => {
  let forgets = false;
  const workers = await webWorkers(t, 2, (req, res, worker) => {
    if (!has_sid(req)) return res.end(openPacket(`${worker.id}-sid-0123456789`));
    if (!forgets) return res.end("ok");
    res.writeHead(400, { "Content-Type": "application/json" });
    res.end('{"code":1,"message":"Session ID unknown"}');
  });
  const lb = await siolb(t, { workers });
  const kept = agent(t, 1);
  const sid = sidOfBody(await request(`${lb.url}${HANDSHAKE}`, { agent: kept }));
  assert.equal((await request(`${lb.url}${withSid(sid)}`, { agent: kept })).text, "ok");
  forgets = true;
  const gone = await request(`${lb.url}${withSid(sid)}`, { agent: kept });
  assert.deepEqual([gone.status, gone.text], [400, '{"code":1,"message":"Session ID unknown"}'], "passes unchanged");
  const metrics = await lb.metrics();
  assert.equal(metrics.sessions_gone_total, 1);
  assert.equal(metrics.sessions, 0);
});
