/* [limits] per_address and handshakes_per_address: one address cannot take what is there for all. */
import assert from "node:assert/strict";
import net from "node:net";
import test from "node:test";

import { io } from "socket.io-client";

import { POLLING } from "./lib/clients.mjs";
import { defer, within } from "./lib/defer.mjs";
import { fleet } from "./lib/fleet.mjs";
import { agent, openPacket, request, webWorkers } from "./lib/http.mjs";
import { answers, get, GET, HANDSHAKE, rawClient, response, scriptedWorker, SWITCH, tunnel, UPGRADE } from "./lib/scripted.mjs";
import { siolb } from "./lib/siolb.mjs";

const ORIGIN = "https://app.example";

/** siolb before a worker that answers every request; `limits` are its own. */
async function scene(t, limits, more = {}) {
  const worker = await scriptedWorker(t, { script: answers(() => response("fine")) });
  return siolb(t, { workers: [worker], limits, ...more });
}

function assertTooMany(answer, what) {
  assert.equal(answer.status, 429);
  assert.equal(JSON.parse(answer.text ?? answer.body).message, `Too many ${what} from your address`);
}

/** The error that a connection ends with, perhaps before it was told that it is open. */
function endOfConnecting(lb) {
  const socket = net.connect({ port: lb.port, host: "127.0.0.1" });
  const ended = new Promise((resolve) => socket.on("error", ({ code }) => resolve(code)).on("end", () => resolve("fin")));
  return within(10_000, "the end of a connection", ended).finally(() => socket.destroy());
}

async function isServed(t, lb, options) {
  const client = await rawClient(t, lb, options);
  await client.send(GET);
  const { status } = await client.response();
  return { client, status };
}

test("per_address: the connection that is one too many gets 429 and is closed; who leaves makes room", async (t) => {
  const lb = await scene(t, { per_address: 3 });
  const first = [];
  for (let n = 0; n < 3; n++) first.push(await isServed(t, lb));
  assert.deepEqual(first.map(({ status }) => status), [200, 200, 200]);

  const over = await rawClient(t, lb);
  await over.send(get("/") + get("/second"));
  const answer = await over.response();
  assertTooMany(answer, "connections");
  assert.match(answer.head, /\r\nConnection: close\r\n/);
  assert.equal(await over.ended(), "fin");
  assert.equal((await isServed(t, lb, { localAddress: "127.0.0.2" })).status, 200, "another address is not concerned");

  over.socket.destroy();
  first[0].client.socket.destroy();
  await lb.untilMetrics((m) => m.clients === 3);
  assert.equal((await isServed(t, lb)).status, 200);
  assert.equal(await lb.metric("limited_connections_total"), 1);
});

test("per_address: beyond twice the limit connections are reset at once, and none of them is kept", async (t) => {
  const lb = await scene(t, { per_address: 2 });
  const held = await Promise.all(Array.from({ length: 4 }, () => rawClient(t, lb)));
  await lb.untilMetrics((m) => m.clients === 4);
  for (let n = 0; n < 20; n++) assert.equal(await endOfConnecting(lb), "ECONNRESET");
  assert.equal(await lb.metric("clients"), 4);
  assert.equal((await isServed(t, lb, { localAddress: "127.0.0.2" })).status, 200);
  held.forEach((client) => client.socket.destroy());
  await lb.untilMetrics((m) => m.clients === 1);
  assert.equal((await isServed(t, lb)).status, 200);
});

test("per_address: websockets count, and stop counting when they end", async (t) => {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker], limits: { per_address: 2 } });
  const open = [await tunnel(t, lb, worker), await tunnel(t, lb, worker)];
  const over = await rawClient(t, lb);
  await over.send(UPGRADE);
  assertTooMany(await over.response(), "connections");
  over.socket.destroy();
  await open[0].client.reset();
  await lb.untilMetrics((m) => m.tunnels === 1 && m.clients === 0);
  await tunnel(t, lb, worker);
  await open[1].client.send("still here");
  await open[1].up.expect("still here");
});

test("per_address: behind a trusted balancer requests under way and websockets of the believed client count", async (t) => {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker], limits: { per_address: 2 }, forward: { trust: "127.0.0.1" } });
  const of = (address, bytes) => bytes.replace("\r\n\r\n", `\r\nX-Forwarded-For: ${address}\r\n\r\n`);
  const page = get("/", "Connection: close"); /* no pooled connection is left behind */
  const ask = async (bytes) => {
    const client = await rawClient(t, lb);
    await client.send(bytes);
    return client;
  };
  const poll = await ask(of("9.9.9.9", page));
  const held = await worker.accepted();
  await held.head();
  const socket = await ask(of("9.9.9.9", UPGRADE));
  const up = await worker.accepted();
  await up.head();
  await up.send(SWITCH);
  await socket.expect(SWITCH);

  assertTooMany(await (await ask(of("9.9.9.9", page))).response(), "connections");
  const other = await ask(of("9.9.9.8", page));
  await (await worker.accepted()).send(response("other"));
  await other.expect(response("other"));

  await held.send(response("first"));
  await poll.expect(response("first"));
  const next = await ask(of("9.9.9.9", page));
  await (await worker.accepted()).send(response("next"));
  await next.expect(response("next"));

  await socket.reset();
  await lb.untilMetrics((m) => m.tunnels === 0);
  assert.equal(await lb.metric("limited_connections_total"), 1);
  const both = [await ask(of("9.9.9.9", UPGRADE)), await ask(of("9.9.9.9", UPGRADE))];
  for (const client of both) {
    const again = await worker.accepted();
    await again.head();
    await again.send(SWITCH);
    await client.expect(SWITCH);
  }
});

test("a trusted peer that tells of nobody is not limited", async (t) => {
  const workers = await webWorkers(t, 1);
  const lb = await siolb(t, { workers, limits: { per_address: 1, handshakes_per_address: 1 }, forward: { trust: "127.0.0.0/8" } });
  const kept = agent(t, 5);
  const all = Array.from({ length: 10 }, () => request(`${lb.url}${HANDSHAKE}`, { agent: kept, headers: { "X-Forwarded-For": "127.0.0.9" } }));
  assert.deepEqual(new Set((await Promise.all(all)).map(({ status }) => status)), new Set([200]));
});

test("the log names who is limited, and not once for each time", async (t) => {
  const lb = await scene(t, { per_address: 1 });
  const first = await isServed(t, lb);
  for (let n = 0; n < 5; n++) {
    const { client, status } = await isServed(t, lb);
    assert.equal(status, 429);
    client.socket.destroy();
    await lb.untilMetrics((m) => m.clients === 1);
  }
  const lines = lb.log.filter((l) => l.event === "limited");
  assert.ok(lines.length >= 1 && lines.length < 5);
  assert.deepEqual([lines[0].limit, /^127\.0\.0\.1:/.test(lines[0].client)], ["per_address", true]);
  first.client.socket.destroy();
});

test("per_address: the IPv6 addresses of one /64 are one, and a PROXY header says which it is", async (t) => {
  const lb = await scene(t, { per_address: 1 }, { listen: "127.0.0.1:0 proxy", forward: { trust: "127.0.0.1" } });
  const from = async (address) => {
    const client = await rawClient(t, lb);
    await client.send(`PROXY TCP6 ${address} ::1 1 2\r\n${GET}`);
    return (await client.response()).status;
  };
  assert.equal(await from("2001:db8:0:1::1"), 200);
  assert.equal(await from("2001:db8:0:1:ffff::2"), 429);
  assert.equal(await from("2001:db8:0:2::1"), 200);
  assert.equal(await from("2001:db8:0:2::1"), 429);
});

test("handshakes_per_address: over it 429 with Retry-After on a connection that stays; known sessions go on", async (t) => {
  const workers = await webWorkers(t, 2);
  const lb = await siolb(t, { workers, limits: { handshakes_per_address: 3 } });
  const kept = agent(t, 1);
  const ask = (target, options) => request(`${lb.url}${target}`, { agent: kept, ...options });
  const answers = [];
  do answers.push(await ask(HANDSHAKE));
  while (answers.at(-1).status === 200 && answers.length < 50);
  assert.ok(answers.length > 3, "a burst of three is fine");
  const refused = answers.at(-1);
  assertTooMany(refused, "new sessions");
  assert.equal(refused.headers["retry-after"], "1");
  assert.equal(refused.headers.connection, "keep-alive");
  const { sid } = JSON.parse(answers[0].text.slice(1));
  for (let n = 0; n < 20; n++) {
    assert.equal((await ask(`${HANDSHAKE}&sid=${sid}`)).status, 200, "a poll is no handshake");
    assert.equal((await ask("/page")).status, 200, "nor is a page");
    assert.equal((await ask(HANDSHAKE, { method: "OPTIONS" })).status, 200, "nor is a preflight");
  }
  assert.equal((await ask(HANDSHAKE, { localAddress: "127.0.0.2", agent: false })).status, 200);
  const metrics = await lb.metrics();
  assert.equal(metrics.limited_handshakes_total, 1);
  assert.equal(metrics.accepted_total, 2, "one connection carried all of it");
});

test("handshakes_per_address: websocket handshakes count too, by the believed address", async (t) => {
  const worker = await scriptedWorker(t, {
    script: async (up) => {
      await up.head();
      await up.send(SWITCH);
    },
  });
  const lb = await siolb(t, { workers: [worker], limits: { handshakes_per_address: 1 }, forward: { trust: "127.0.0.1" } });
  const open = async (address) => {
    const client = await rawClient(t, lb);
    await client.send(UPGRADE.replace("\r\n\r\n", `\r\nX-Forwarded-For: ${address}\r\n\r\n`));
    return (await client.head()).slice(9, 12);
  };
  const statuses = [];
  for (let n = 0; n < 30 && !statuses.includes("429"); n++) statuses.push(await open("9.9.9.9"));
  assert.deepEqual([statuses[0], statuses.at(-1)], ["101", "429"]);
  assert.equal(await open("9.9.9.8"), "101");
});

test("a 429 says to the page of an origin that a worker has granted what it is", async (t) => {
  const workers = await webWorkers(t, 1, (req, res) => {
    if (req.headers.origin === ORIGIN) res.setHeader("Access-Control-Allow-Origin", ORIGIN);
    res.end(openPacket(`sid-${Math.random()}-of-test`));
  });
  const lb = await siolb(t, { workers, limits: { handshakes_per_address: 1 } });
  const kept = agent(t, 1);
  const refusedTo = async (origin) => {
    for (;;) {
      const answer = await request(`${lb.url}${HANDSHAKE}`, { agent: kept, headers: { Origin: origin } });
      if (answer.status === 429) return answer;
    }
  };
  const own = await within(10_000, "a 429", refusedTo(ORIGIN));
  assert.equal(own.headers["access-control-allow-origin"], ORIGIN);
  const strange = await within(10_000, "a 429", refusedTo("https://evil.example"));
  assert.equal(strange.headers["access-control-allow-origin"], undefined);
});

test("a real client that meets 429 gets in by itself later", async (t) => {
  const workers = await fleet(t, 2);
  const lb = await siolb(t, { workers, limits: { handshakes_per_address: 1 } });
  const connected = Array.from({ length: 4 }, () => {
    const socket = io(lb.url, { ...POLLING, forceNew: true, reconnectionDelay: 300 });
    defer(t, () => socket.close());
    return within(30_000, "a client to get in", new Promise((resolve) => socket.on("worker", resolve)));
  });
  await Promise.all(connected);
  assert.ok((await lb.metric("limited_handshakes_total")) > 0);
});
