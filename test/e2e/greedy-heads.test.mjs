/* Thousands who connect and take their time with the request: each has its deadline, nobody else waits. */
import assert from "node:assert/strict";
import test, { describe } from "node:test";

import { within } from "./lib/defer.mjs";
import { ordinaryClients, ordinaryWorker } from "./lib/ordinary.mjs";
import { get, inOneWakeUp, rawClient } from "./lib/scripted.mjs";
import { siolb } from "./lib/siolb.mjs";

const SLOW = 2_000;
const SILENT = 500;
const AT_ONCE = 100;
const DRIP_MS = 300;
const HEAD = "6s"; /* also that of ordinary newcomers, who may be held up for less */
const END_MS = 60_000;
const EMPTY = "HTTP/1.1 200 OK\r\n";

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** `count` connections, so many at a time that they do not wait long for each other. */
async function crowd(t, lb, count) {
  const clients = [];
  while (clients.length < count) clients.push(...(await Promise.all(Array.from({ length: AT_ONCE }, () => rawClient(t, lb)))));
  return clients;
}

const SLOW_HEAD = get("/", "A: ").slice(0, -4);

const waits = (client) => !client.has_bytes && !client.end_seen && !client.socket.destroyed;

/** A byte now and then, behind the first, as long as nothing comes back: a head that never ends by itself. */
async function drip(clients) {
  for (let turn = 1; clients.some(waits); turn++) {
    await Promise.all(clients.filter(waits).map((client) => client.send(SLOW_HEAD[turn] ?? "b").catch(() => {})));
    await pause(DRIP_MS);
  }
}

async function ends(client) {
  await client.until("an end", () => client.end_seen, END_MS);
  return client.rest();
}

/* Most of their time is waiting. */
describe("side by side", { concurrency: 2 }, () => {
  test("2,000 slow heads: each gets its 408 and is gone, whatever it sends meanwhile", async (t) => {
    const worker = await ordinaryWorker(t);
    const lb = await siolb(t, { workers: [worker], timeouts: { head: HEAD } });
    const ordinary = await ordinaryClients(t, lb);

    /* Half of them had an answer before: their time begins with the first byte, that of the others with the accept. */
    const known = await crowd(t, lb, SLOW / 2);
    await Promise.all(known.map((client) => client.send(get("/served"))));
    for (const client of known) assert.ok((await client.head()).startsWith(EMPTY));
    /* All at once: siolb finds 2,000 first bytes, and nobody among them who has said nothing for too long. */
    let fresh;
    const start = async () => {
      fresh = await crowd(t, lb, SLOW / 2);
      await Promise.all([...known, ...fresh].map((client) => client.send(SLOW_HEAD[0])));
    };
    await inOneWakeUp(lb, start);
    const slow = [...known, ...fresh];
    const dripping = drip(slow);
    await lb.untilMetrics((m) => m.buffered_bytes > SLOW);
    await ordinary.served(20);
    await within(END_MS, "2,000 answers", dripping);
    const answers = await Promise.all(slow.map(ends));
    await ordinary.served(20);

    for (const { text, end } of answers) {
      assert.match(text, /^HTTP\/1\.1 408 Request Timeout\r\n[^]*\r\nConnection: close\r\n/);
      assert.equal(end, "fin");
    }
    slow.forEach((client) => client.socket.destroy());
    const metrics = await lb.untilMetrics((m) => m.clients <= ordinary.connections && m.buffered_bytes === 0);
    assert.equal(metrics.refused_requests_total, SLOW);
    assert.equal(worker.strangers.length, SLOW / 2, "only the whole ones came to the worker");
  });

  test("500 who connect and say nothing are let go without a word", async (t) => {
    const worker = await ordinaryWorker(t);
    const lb = await siolb(t, { workers: [worker], timeouts: { head: HEAD } });
    const ordinary = await ordinaryClients(t, lb);
    const silent = await crowd(t, lb, SILENT);
    await ordinary.served(20);
    for (const { text, end } of await Promise.all(silent.map(ends))) assert.deepEqual([text, end], ["", "fin"]);
    await lb.untilMetrics((m) => m.clients <= ordinary.connections);
    assert.deepEqual(worker.strangers, []);
  });
});
