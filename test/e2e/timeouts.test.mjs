/* How long siolb waits for what, and how it ends what took too long. */
import assert from "node:assert/strict";
import test from "node:test";

import { answers, get, GET, HANDSHAKE, rawClient, response, scriptedWorker, SWITCH, teach, tunnel, UPGRADE } from "./lib/scripted.mjs";
import { siolb } from "./lib/siolb.mjs";
import { openPacket } from "./lib/http.mjs";

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function workerAndLb(t, timeouts, script = answers(() => response("ok"))) {
  const worker = await scriptedWorker(t, { script });
  const lb = await siolb(t, { workers: [worker], timeouts });
  return { worker, lb, client: await rawClient(t, lb) };
}

/** A byte each 50 ms until the other side has something to say. */
async function drip(client, text) {
  for (const byte of text) {
    if (client.has_bytes || client.end_seen) return;
    await client.send(byte).catch(() => {});
    await pause(50);
  }
}

const SLOW = `GET / HTTP/1.1\r\nHost: x\r\nA: ${"b".repeat(1000)}`;

test("a head that takes longer than timeouts.head is a 408, however busily its bytes drip", async (t) => {
  const { worker, lb, client } = await workerAndLb(t, { head: "700ms" });
  const from = Date.now();
  await drip(client, SLOW);
  const { text, end } = await client.rest();
  const took = Date.now() - from;
  assert.match(text, /^HTTP\/1\.1 408 Request Timeout\r\n[^]*\r\nConnection: close\r\n/);
  assert.equal(end, "fin");
  assert.ok(took >= 650 && took < 4000, `${took} ms`);
  assert.equal(worker.connections, 0);
  assert.equal((await lb.waitLog((l) => l.event === "closed")).reason, "head-timeout");
});

test("a later head has its time from its first byte on, not from the answer before", async (t) => {
  const { client } = await workerAndLb(t, { head: "700ms", keepalive: "20s" });
  await client.send(GET);
  await client.expect(response("ok"));
  await client.quiet(1000);
  const from = Date.now();
  await drip(client, SLOW);
  const { text } = await client.rest();
  assert.match(text, /^HTTP\/1\.1 408 /);
  assert.ok(Date.now() - from >= 650);
});

test("a connection that sends nothing is closed without a reply after timeouts.head", async (t) => {
  const { lb, client } = await workerAndLb(t, { head: "300ms", keepalive: "20s" });
  assert.equal(await client.ended(), "fin");
  assert.equal((await lb.waitLog((l) => l.event === "closed")).reason, "silent");
});

test("a connection that is idle between two requests is closed without a reply after timeouts.keepalive", async (t) => {
  const { lb, client } = await workerAndLb(t, { head: "20s", keepalive: "300ms" });
  await client.send(GET);
  await client.expect(response("ok"));
  assert.equal(await client.ended(), "fin");
  assert.equal((await lb.waitLog((l) => l.event === "closed")).reason, "keepalive");
});

test("a slow body is no slow head: the worker decides how long it waits", async (t) => {
  const { client } = await workerAndLb(t, { head: "300ms", keepalive: "300ms" });
  await client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n");
  for (let n = 0; n < 20; n++) {
    await pause(50);
    await client.send("x");
  }
  await client.expect(response("ok"));
});

test("an answer may take longer than head and keepalive", async (t) => {
  const { client } = await workerAndLb(t, { head: "200ms", keepalive: "200ms" }, answers(() => pause(1000).then(() => response("late"))));
  await client.send(GET);
  await client.expect(response("late"));
});

test("timeouts.tunnel closes an idle websocket with FIN both ways, and bytes either way keep it open", async (t) => {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker], timeouts: { tunnel: "2s" } });
  const { client, up } = await tunnel(t, lb, worker);
  for (let n = 0; n < 4; n++) {
    const [from, to] = n % 2 ? [client, up] : [up, client];
    await pause(1000);
    await from.send("x");
    await to.expect("x");
  }
  assert.equal(await client.ended(), "fin");
  assert.equal(await up.ended(), "fin");
  const line = await lb.waitLog((l) => l.event === "closed");
  assert.deepEqual([line.end, line.reason], ["siolb/tunnel", "idle"]);
});

/* 100 ms + 100 ms + 10 s: what these take is what siolb adds. */
const PINGS = { pingInterval: 100, pingTimeout: 100 };
const LIMIT_MS = [9_500, 16_000];

function assertLimit(from) {
  const took = Date.now() - from;
  assert.ok(took > LIMIT_MS[0] && took < LIMIT_MS[1], `${took} ms`);
}

const textFrame = (text) => `\x81${String.fromCharCode(text.length)}${text}`;
const shortOpen = `0${JSON.stringify({ sid: "first-frame-sid-01", ...PINGS })}`;

test("tunnel = 0, response = 0: the session's ping values are the limit", { concurrency: true }, async (t) => {
  await Promise.all([
    t.test("of a websocket, from the handshake", async (row) => {
      const script = answers(({ target }) => (target.includes("sid=") ? SWITCH : response(openPacket("w0-handshake-0123456789", PINGS))));
      const { worker, lb, client } = await workerAndLb(row, {}, script);
      const [sid] = await teach(lb, [worker]);
      await client.send(get(`/socket.io/?EIO=4&transport=websocket&sid=${sid}`, "Connection: Upgrade", "Upgrade: websocket"));
      await client.expect(SWITCH);
      const from = Date.now();
      await client.until("the limit", () => client.end_seen, 30_000);
      assertLimit(from);
      assert.equal((await lb.waitLog((l) => /tunnel$/.test(l.end))).reason, "idle");
    }),
    t.test("of a websocket, from the first frame, in one read with the 101", async (row) => {
      const { client, lb } = await workerAndLb(row, {}, answers(() => SWITCH + textFrame(shortOpen)));
      await client.send(UPGRADE);
      await client.expect(SWITCH + textFrame(shortOpen));
      const from = Date.now();
      await client.until("the limit", () => client.end_seen, 30_000);
      assertLimit(from);
      assert.equal((await lb.waitLog((l) => /tunnel$/.test(l.end))).reason, "idle");
    }),
    t.test("of a websocket, from the first frame, byte by byte", async (row) => {
      const worker = await scriptedWorker(row);
      const lb = await siolb(row, { workers: [worker] });
      const { client, up } = await tunnel(row, lb, worker);
      for (const byte of textFrame(shortOpen)) {
        await up.send(byte);
        await client.expect(byte);
      }
      const from = Date.now();
      await client.until("the limit", () => client.end_seen, 30_000);
      assertLimit(from);
      assert.equal((await lb.waitLog((l) => /tunnel$/.test(l.end))).reason, "idle");
    }),
    t.test("of a held poll: 504", async (row) => {
      const script = answers(({ target }) => (target.includes("sid=") ? new Promise(() => {}) : response(openPacket("w0-poll-0123456789abc", PINGS))));
      const { worker, lb, client } = await workerAndLb(row, {}, script);
      const [sid] = await teach(lb, [worker]);
      await client.send(get(`${HANDSHAKE}&sid=${sid}`));
      const from = Date.now();
      await client.until("an answer", () => client.has_bytes, 30_000);
      assertLimit(from);
      assert.match(await client.head(), /^HTTP\/1\.1 504 /);
    }),
    t.test("unknown ping values: no limit", async (row) => {
      const worker = await scriptedWorker(row);
      const lb = await siolb(row, { workers: [worker] });
      const { client, up } = await tunnel(row, lb, worker);
      await up.send(textFrame("4no open packet"));
      await client.expect(textFrame("4no open packet"));
      await client.quiet(LIMIT_MS[1]);
      await client.send("still there");
      await up.expect("still there");
    }),
  ]);
});
