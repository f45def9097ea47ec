/* A reader that stalls, with 200 MB waiting for it: its writer waits, siolb's memory does not grow. Not under ASan. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import test from "node:test";

import { answers, GET, rawClient, response, scriptedWorker, tunnel } from "./lib/scripted.mjs";
import { siolb } from "./lib/siolb.mjs";

const BULK = 200 << 20;
const BUFFER = 64 << 10;
const GROWTH_MAX = 4 << 20;
const PIECE = Buffer.alloc(1 << 20, "0123456789abcdef");

/** Write `bytes` as fast as they are taken; ends when the kernel has all. */
async function pour(peer, bytes) {
  for (let sent = 0; sent < bytes; sent += PIECE.length) await peer.send(PIECE.subarray(0, Math.min(PIECE.length, bytes - sent)));
}

/** Nothing has moved for a moment: the writer is stopped. */
async function stalled(lb) {
  const moment = () => new Promise((resolve) => setTimeout(resolve, 100));
  for (let before = -1, now = lb.cpuTicks(), same = 0; same < 3; ) {
    await moment();
    before = now;
    now = lb.cpuTicks();
    same = before === now ? same + 1 : 0;
  }
}

/** While `to` stalls: memory is flat, little is buffered; afterwards every byte arrives. */
async function stallAndGoOn(lb, from, to, bytes) {
  const before = lb.rss();
  to.pause();
  let is_sent = false;
  const sent = pour(from, bytes).then(() => (is_sent = true));
  await lb.untilMetrics((m) => m.buffered_bytes > 0);
  await stalled(lb);
  const metrics = await lb.metrics();
  assert.ok(metrics.buffered_bytes > 0 && metrics.buffered_bytes <= 2 * BUFFER, `${metrics.buffered_bytes} bytes buffered`);
  assert.ok(!is_sent, "the writer waits");
  assert.ok(lb.rss() - before < GROWTH_MAX, `${lb.rss() - before} bytes of memory`);
  to.countOnly();
  to.resume();
  await sent;
  await to.until("all bytes", () => to.counted >= bytes, 30_000);
  assert.equal(to.counted, bytes);
  assert.ok(lb.rss() - before < GROWTH_MAX, `${lb.rss() - before} bytes of memory`);
  assert.equal(await lb.metric("buffered_bytes"), 0);
}

async function workerAndLb(t) {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker] });
  return { worker, lb };
}

test("tunnel: a client that stalls, 200 MB waiting", async (t) => {
  const { worker, lb } = await workerAndLb(t);
  const { client, up } = await tunnel(t, lb, worker);
  await stallAndGoOn(lb, up, client, BULK);
});

test("tunnel: a worker that stalls, 200 MB waiting", async (t) => {
  const { worker, lb } = await workerAndLb(t);
  const { client, up } = await tunnel(t, lb, worker);
  await stallAndGoOn(lb, client, up, BULK);
});

test("tunnel: 30 MB of random bytes each way at once are the same bytes", async (t) => {
  const { worker, lb } = await workerAndLb(t);
  const { client, up } = await tunnel(t, lb, worker);
  const bytes = randomBytes(30_000_000);
  const hash = (text) => createHash("sha256").update(text, "latin1").digest("hex");
  const [, , at_worker, at_client] = await Promise.all([client.send(bytes), up.send(bytes), up.read(bytes.length), client.read(bytes.length)]);
  assert.equal(hash(at_worker), hash(bytes));
  assert.equal(hash(at_client), hash(bytes));
});

test("tunnel: one direction stalls, the other flows", async (t) => {
  const { worker, lb } = await workerAndLb(t);
  const { client, up } = await tunnel(t, lb, worker);
  up.pause();
  pour(client, BULK).catch(() => {});
  await lb.untilMetrics((m) => m.buffered_bytes > 0);
  for (const part of ["one", "two", "three"]) {
    await up.send(part);
    await client.expect(part);
  }
});

for (const [kind, head, begin] of [
  ["a response with a length", `HTTP/1.1 200 OK\r\nContent-Length: ${BULK}\r\n\r\n`, ""],
  ["a chunked response", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", `${(BULK + 1).toString(16)}\r\n`],
  ["a close-delimited response", "HTTP/1.1 200 OK\r\n\r\n", ""],
]) {
  test(`${kind}: a client that stalls, 200 MB waiting`, async (t) => {
    const { worker, lb } = await workerAndLb(t);
    const client = await rawClient(t, lb);
    await client.send(GET);
    const up = await worker.accepted();
    await up.expect(GET);
    await up.send(head + begin);
    await client.expect(head + begin);
    await stallAndGoOn(lb, up, client, BULK);
  });
}

for (const [kind, head, begin] of [
  ["a request with a length", `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${BULK}\r\n\r\n`, ""],
  ["a chunked request", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", `${(BULK + 1).toString(16)}\r\n`],
]) {
  test(`${kind}: a worker that stalls, 200 MB waiting`, async (t) => {
    const { worker, lb } = await workerAndLb(t);
    const client = await rawClient(t, lb);
    await client.send(head + begin);
    const up = await worker.accepted();
    await up.expect(head + begin);
    await stallAndGoOn(lb, client, up, BULK);
  });
}

test("a client that pipelines and reads no answer is not read either", async (t) => {
  const worker = await scriptedWorker(t, { script: answers(() => response("x".repeat(20_000))) });
  const lb = await siolb(t, { workers: [worker] });
  const client = await rawClient(t, lb);
  const before = lb.rss();
  client.pause();
  client.send(GET.repeat(100_000)).catch(() => {});
  await lb.untilMetrics((m) => m.buffered_bytes > 0);
  await stalled(lb);
  const metrics = await lb.metrics();
  assert.ok(metrics.buffered_bytes <= 3 * BUFFER, `${metrics.buffered_bytes} bytes buffered`);
  assert.ok(metrics.requests_total < 100_000);
  assert.ok(lb.rss() - before < GROWTH_MAX);
});

test("a stalled tunnel stalls nobody else", async (t) => {
  const { worker, lb } = await workerAndLb(t);
  const slow = await tunnel(t, lb, worker);
  slow.client.pause();
  pour(slow.up, BULK).catch(() => {});
  await lb.untilMetrics((m) => m.buffered_bytes > 0);
  await stalled(lb);
  const fast = await tunnel(t, lb, worker);
  for (let n = 0; n < 200; n++) {
    await fast.client.send("ping");
    await fast.up.expect("ping");
    await fast.up.send("pong");
    await fast.client.expect("pong");
  }
});

test("stall: a client that takes nothing for so long loses its tunnel", async (t) => {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker], timeouts: { stall: "1s" } });
  const { client, up } = await tunnel(t, lb, worker);
  client.pause();
  pour(up, BULK).catch(() => {});
  const line = await lb.waitLog((l) => l.event === "closed");
  assert.equal(line.end, "client/tunnel");
  assert.equal(line.reason, "timed-out");
});
