/* limits.memory: when all buffers together are too large, those who hold most have to go, and nobody else. */
import assert from "node:assert/strict";
import test from "node:test";

import { ordinaryClients, ordinaryWorker } from "./lib/ordinary.mjs";
import { get, rawClient, SWITCH } from "./lib/scripted.mjs";
import { siolb } from "./lib/siolb.mjs";

const MEMORY = 1 << 20;
const GREEDY_MAX = 300;
const BURST = Buffer.alloc(192 << 10, "x");
const BURSTS_MAX = 400;
const SMALL = 20;
const CLASS = 1.25; /* sizes within it count as equal */
const SETTLED_TURNS = 4;
const END_MS = 60_000;

const UNFINISHED = get("/small", `A: ${"b".repeat(200)}`).slice(0, -2);

/** A worker that answers, and keeps the ends of its websockets by their targets. */
async function start(t) {
  const ups = new Map();
  const upgrade = (up, req) => {
    ups.set(req.url, up);
    up.countOnly();
    up.send(SWITCH);
  };
  const worker = await ordinaryWorker(t, { answer: (req, res) => res.end("served"), upgrade });
  const lb = await siolb(t, { workers: [worker], limits: { memory: "1m", buffer: "64k" } });
  const websocket = async (target) => {
    const client = await rawClient(t, lb);
    await client.send(get(target, "Connection: Upgrade", "Upgrade: websocket"));
    await client.expect(SWITCH);
    return { client, up: ups.get(target) };
  };
  return { lb, websocket, ordinary: await ordinaryClients(t, lb) };
}

/**
 * Metrics when all that can be done is done: siolb has had several turns of its loop, an answer each, and neither it nor
 * the kernel behind `up` has taken another byte. One turn would not do: a buffer may have grown, and whoever has to go for
 * it still be there.
 */
async function settled(lb, up) {
  const left = () => up?.socket.writableLength;
  for (let before = await lb.metrics(), unsent = left(), same = 0; ; ) {
    const now = await lb.metrics();
    same = now.buffered_bytes === before.buffered_bytes && left() === unsent ? same + 1 : 0;
    [before, unsent] = [now, left()];
    if (same === SETTLED_TURNS) return now;
  }
}

/** Send to a client that does not read until something waits in siolb for it: its `size`; null: somebody was shed. */
async function stall(lb, { client, up }) {
  const before = await settled(lb);
  client.pause();
  for (let burst = 0; burst < BURSTS_MAX; burst++) {
    up.socket.write(BURST);
    let now = await lb.metrics();
    if (now.buffered_bytes > before.buffered_bytes) now = await settled(lb, up);
    if (now.shed_total > before.shed_total) return null;
    if (now.buffered_bytes > before.buffered_bytes) return now.buffered_bytes - before.buffered_bytes;
  }
  throw new Error("nothing ever waited");
}

test("tunnels whose clients do not read: the largest are closed until buffers fit again, small ones and others stay", async (t) => {
  const { lb, websocket, ordinary } = await start(t);
  const talking = await websocket("/talks");
  const small = await Promise.all(Array.from({ length: SMALL }, () => rawClient(t, lb)));
  await Promise.all(small.map((client) => client.send(UNFINISHED)));
  await lb.untilMetrics((m) => m.buffered_bytes >= SMALL * UNFINISHED.length);

  const greedy = [];
  const fill = async () => {
    for (let size = 0; size !== null; ) {
      assert.ok(greedy.length < GREEDY_MAX, "somebody is shed at last");
      const one = await websocket(`/greedy/${greedy.length}`);
      greedy.push(one);
      size = await stall(lb, one);
      one.size = size;
      assert.ok((await settled(lb, one.up)).buffered_bytes <= MEMORY);
    }
  };
  for (let round = 1; round <= 3; round++) {
    await fill();
    await ordinary.served(3);
    const shed = lb.log.filter((line) => line.event === "closed" && line.reason === "shed");
    assert.ok(shed.length >= round, `${shed.length} were shed`);
    for (const line of shed) assert.equal(line.end, "siolb/tunnel", line.text);

    const ports = new Set(shed.map((line) => Number(line.client.split(":")[1])));
    const is_shed = ({ client }) => ports.has(client.socket.localPort);
    const known = greedy.filter(({ size }) => size !== null);
    assert.equal(greedy.filter(is_shed).length, ports.size, "none but those who do not read");
    const largest_left = Math.max(...known.filter((one) => !is_shed(one)).map(({ size }) => size));
    const smallest_gone = Math.min(...known.filter(is_shed).map(({ size }) => size));
    assert.ok(largest_left <= smallest_gone * CLASS, `${smallest_gone} had to go and ${largest_left} stayed`);
    greedy.filter(is_shed).forEach((one) => (one.is_gone = true));
  }

  for (const { client, up } of greedy.filter((one) => one.is_gone)) {
    client.countOnly();
    client.resume();
    await Promise.all([client.until("its end", () => client.end_seen, END_MS), up.until("its end", () => up.end_seen, END_MS)]);
  }
  for (const client of small) {
    await client.send("\r\n");
    const { status, body } = await client.response();
    assert.deepEqual([status, body], [200, "served"]);
  }
  await talking.up.send("still there");
  await talking.client.expect("still there");
  await ordinary.served(5);
  assert.ok((await settled(lb)).buffered_bytes <= MEMORY);
});
