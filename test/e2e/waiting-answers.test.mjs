/* Answers that wait for a slow client, uploads that take their time, and who is said to have ended it. */
import assert from "node:assert/strict";
import test from "node:test";

import { answers, get, GET, rawClient, response, scriptedWorker, SWITCH, UPGRADE } from "./lib/scripted.mjs";
import { siolb } from "./lib/siolb.mjs";

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const STEP = 128 << 10;

/**
 * A client that has not read the end of its answer yet: the worker is done, the last bytes wait in siolb. How much the
 * kernel holds by itself is found by growing the answer.
 */
async function slowReader(t, timeouts) {
  let size = 0;
  const worker = await scriptedWorker(t, { script: answers(() => response("x".repeat(size))) });
  const lb = await siolb(t, { workers: [worker], timeouts, limits: { buffer: "256k" } });
  let tries = 0;
  for (size = 2 << 20; size < 32 << 20 && tries < 300; size += STEP, tries++) {
    const client = await rawClient(t, lb);
    const before = await lb.metric("requests_total");
    client.pause();
    await client.send(GET);
    const metrics = await lb.untilMetrics(
      (m) => m.requests_total > before && (m.exchanges === 0 || m.buffered_bytes > 0),
    );
    if (metrics.buffered_bytes > 0 && metrics.exchanges === 0) return { lb, client, size };
    if (metrics.exchanges > 0) size -= STEP; /* it waits in pieces: once more */
    const ended = lb.log.length;
    await client.reset();
    await lb.waitLog((l) => l.event === "closed", ended);
  }
  throw new Error("no answer ever waited");
}

test("the keepalive time begins when the whole answer is out: its tail is not thrown away", async (t) => {
  const { lb, client, size } = await slowReader(t, { keepalive: "200ms", stall: "20s" });
  const from = lb.log.length;
  await pause(700);
  client.countOnly();
  client.resume();
  await client.until("the whole answer and the end", () => client.end_seen);
  const line = await lb.waitLog((l) => l.event === "closed", from);
  assert.equal(client.counted, Number(line.out));
  assert.ok(client.counted > size);
  assert.equal(line.reason, "keepalive");
});

test("a drain ends a connection as soon as its answer is out, and not before", async (t) => {
  const { lb, client, size } = await slowReader(t, { keepalive: "60s", drain: "20s" });
  const from = lb.log.length;
  lb.signal("SIGTERM");
  await lb.waitLog((l) => l.event === "draining");
  client.countOnly();
  client.resume();
  await client.until("the whole answer and the end", () => client.end_seen);
  assert.ok(client.counted > size);
  await client.fin();
  const line = await lb.waitLog((l) => l.event === "closed", from);
  assert.equal(line.reason, "drained");
});

test("a 100 Continue starts no response time: the upload behind it may take longer", async (t) => {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker], timeouts: { response: "300ms" } });
  const client = await rawClient(t, lb);
  await client.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
  const up = await worker.accepted();
  await up.head();
  await up.send("HTTP/1.1 100 Continue\r\n\r\n");
  await client.expect("HTTP/1.1 100 Continue\r\n\r\n");
  await client.quiet(900);
  await client.send("abcd");
  assert.equal((await up.read(4)).toString(), "abcd");
  await up.send(response("done"));
  await client.expect(response("done"));
});

test("a client that leaves a held request has ended it, not its worker", async (t) => {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker] });
  const client = await rawClient(t, lb);
  await client.send(get("/held"));
  const up = await worker.accepted();
  await up.head();
  await client.fin();
  assert.equal(await up.ended(), "fin");
  await up.fin();
  const line = await lb.waitLog((l) => l.event === "closed");
  assert.equal(line.end, "client/exchange");
  assert.equal(line.reason, "fin");
  const metrics = await lb.metrics();
  assert.equal(metrics.client_aborts_total, 1);
  assert.equal(metrics.closed_without_answer_total, 0);
});

test("an HTTP/1.0 client that asked for keep-alive and is not told of it waits for the close, and gets it", async (t) => {
  const worker = await scriptedWorker(t, { script: answers(() => response("ok")) });
  const lb = await siolb(t, { workers: [worker] });
  const client = await rawClient(t, lb);
  await client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  assert.deepEqual(await client.rest(), { text: response("ok"), end: "fin" });
});

test("the busiest download lets a small request through, and signals", async (t) => {
  const worker = await scriptedWorker(t, { script: answers(({ target }) => response(target === "/big" ? "x".repeat(256 << 20) : "ok")) });
  const lb = await siolb(t, { workers: [worker] });
  const busy = await rawClient(t, lb);
  busy.countOnly();
  await busy.send(get("/big"));
  await busy.until("the first megabyte", () => busy.counted > 1 << 20);
  const small = await rawClient(t, lb);
  await small.send(GET);
  await small.expect(response("ok"));
  assert.ok((await lb.metrics()).requests_total >= 2);
});

test("a client that never reads the end of its answer is let go after stall", async (t) => {
  const { lb } = await slowReader(t, { keepalive: "60s", stall: "1s" });
  const line = await lb.waitLog((l) => l.event === "closed" && ["stalled", "timed-out"].includes(l.reason));
  assert.match(line.end, /^client\//);
  assert.equal(await lb.metric("buffered_bytes"), 0);
});

test("a CR and a LF that come apart behind an answer begin no head", async (t) => {
  const worker = await scriptedWorker(t, { script: answers(() => response("ok")) });
  const lb = await siolb(t, { workers: [worker], timeouts: { head: "300ms", keepalive: "20s" } });
  const client = await rawClient(t, lb);
  await client.send(GET);
  await client.expect(response("ok"));
  await client.send("\r");
  await client.quiet(50);
  await client.send("\n");
  await client.quiet(900);
  await client.send(GET);
  await client.expect(response("ok"));
});

test("bytes are counted once: early ones, the 101 and frames", async (t) => {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker] });
  const client = await rawClient(t, lb);
  await client.send(UPGRADE + "early");
  const up = await worker.accepted();
  await up.head();
  await up.send(SWITCH + "frame");
  await up.expect("early");
  await client.expect(SWITCH + "frame");
  await client.fin();
  await up.fin();
  await lb.waitLog((l) => l.event === "closed");
  const metrics = await lb.metrics();
  assert.equal(metrics.bytes_up_total, UPGRADE.length + "early".length);
  assert.equal(metrics.bytes_down_total, SWITCH.length + "frame".length);
});
