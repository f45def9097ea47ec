/* How a tunnel ends: FIN ends one direction, RST becomes RST, and nothing that was sent before is lost. */
import assert from "node:assert/strict";
import test from "node:test";

import { inOneWakeUp, rawClient, scriptedWorker, SWITCH, tunnel, UPGRADE } from "./lib/scripted.mjs";
import { siolb } from "./lib/siolb.mjs";

const LAST = "the last words\n";

async function tunnelAndLb(t) {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker] });
  return { worker, lb, ...(await tunnel(t, lb, worker)) };
}

const closingLine = (lb) => lb.waitLog((line) => line.event === "closed" && /tunnel$/.test(line.end));

/* [from, to] of both directions */
for (const [from, to] of [
  ["client", "up"],
  ["up", "client"],
]) {
  const who = from === "up" ? "worker" : "client";

  test(`half-close: after the FIN of the ${who} bytes still flow to it`, async (t) => {
    const peers = await tunnelAndLb(t);
    await peers[from].fin();
    assert.equal(await peers[to].ended(), "fin");
    for (const part of ["one", "two", "three"]) {
      await peers[to].send(part);
      await peers[from].expect(part);
    }
    assert.equal(await peers.lb.metric("tunnels"), 1, "it lives as long as one direction does");
    await peers[to].fin(LAST);
    assert.deepEqual(await peers[from].rest(), { text: LAST, end: "fin" });
    const line = await closingLine(peers.lb);
    assert.deepEqual([line.end, line.reason], [`${who}/tunnel`, "fin"], "it was the first FIN that ended it");
    assert.equal(await peers.lb.metric("tunnels"), 0);
  });

  test(`data and FIN of the ${who} in one wake-up: the data, then the FIN`, async (t) => {
    const peers = await tunnelAndLb(t);
    await inOneWakeUp(peers.lb, () => peers[from].fin(LAST));
    assert.deepEqual(await peers[to].rest(), { text: LAST, end: "fin" });
    await peers[to].send("answer");
    await peers[from].expect("answer");
  });

  test(`a RST of the ${who} alone is a RST at once`, async (t) => {
    const peers = await tunnelAndLb(t);
    await peers[from].reset();
    assert.equal(await peers[to].ended(), "reset");
    const line = await closingLine(peers.lb);
    assert.deepEqual([line.end, line.reason], [`${who}/tunnel`, "reset"]);
  });

  test(`data and RST of the ${who} in one wake-up: the data arrives, then the RST, by the look-again sweep`, async (t) => {
    const peers = await tunnelAndLb(t);
    await inOneWakeUp(peers.lb, async () => {
      await peers[from].send(LAST);
      await peers[from].reset();
    });
    await peers[to].expect(LAST);
    assert.equal(await peers[to].ended(), "reset");
    const line = await closingLine(peers.lb);
    assert.deepEqual([line.end, line.reason], [`${who}/tunnel`, "reset"]);
    assert.ok(Number(line.age_ms) <= 5000, "within two sweeps or so");
  });

  test(`a ${who} that is gone after its FIN: the other side, which still sends, is told by a RST`, async (t) => {
    const peers = await tunnelAndLb(t);
    await peers[from].fin();
    assert.equal(await peers[to].ended(), "fin");
    peers[from].socket.destroy();
    await peers[to].send("to nobody"); /* what comes back to siolb is a RST */
    await peers.lb.untilMetrics((m) => m.tunnels === 0);
    await assert.rejects(peers[to].send("x"), /EPIPE|ECONNRESET/);
  });

  test(`8 MB and FIN of the ${who} behind a slow reader: everything arrives before the FIN`, async (t) => {
    const peers = await tunnelAndLb(t);
    const bytes = 8 << 20;
    peers[to].pause();
    const sent = peers[from].fin(Buffer.alloc(bytes, "x"));
    await peers.lb.untilMetrics((m) => m.buffered_bytes > 0);
    peers[to].countOnly();
    peers[to].resume();
    await sent;
    await peers[to].until("the end", () => peers[to].end_seen);
    assert.deepEqual([peers[to].counted, peers[to].end_seen], [bytes, "fin"]);
  });
}

test("a RST behind bytes that wait for a slow client takes none of them away", async (t) => {
  const { lb, client, up } = await tunnelAndLb(t);
  client.pause();
  up.send(Buffer.alloc(64 << 20, "x")).catch(() => {});
  await lb.untilMetrics((m) => m.buffered_bytes > 0);
  await up.reset();
  client.countOnly();
  client.resume();
  await client.until("an end", () => client.end_seen);
  const line = await closingLine(lb);
  assert.equal(client.counted, Number(line.out));
  assert.equal(line.end, "worker/tunnel");
});

test("both sides end in one wake-up", async (t) => {
  const { lb, client, up } = await tunnelAndLb(t);
  await inOneWakeUp(lb, () => Promise.all([client.fin("c"), up.fin("w")]));
  assert.deepEqual(await client.rest(), { text: "w", end: "fin" });
  assert.deepEqual(await up.rest(), { text: "c", end: "fin" });
  await lb.untilMetrics((m) => m.tunnels === 0);
});

test("both sides reset in one wake-up", async (t) => {
  const { lb, client, up } = await tunnelAndLb(t);
  await inOneWakeUp(lb, () => Promise.all([client.reset(), up.reset()]));
  await lb.untilMetrics((m) => m.tunnels === 0);
});

test("a worker that ends together with its 101: the frame, then the end", async (t) => {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker] });
  const client = await rawClient(t, lb);
  await client.send(UPGRADE);
  const up = await worker.accepted();
  await up.head();
  await inOneWakeUp(lb, () => up.fin(`${SWITCH}frame`));
  assert.deepEqual(await client.rest(), { text: `${SWITCH}frame`, end: "fin" });
  await client.fin("bye");
  assert.deepEqual(await up.rest(), { text: "bye", end: "fin" });
});

test("a worker that resets together with its 101: the frame, then an end", async (t) => {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker] });
  const client = await rawClient(t, lb);
  await client.send(UPGRADE);
  const up = await worker.accepted();
  await up.head();
  await inOneWakeUp(lb, async () => {
    await up.send(`${SWITCH}frame`);
    await up.reset();
  });
  await client.expect(`${SWITCH}frame`);
  assert.match(await client.ended(), /reset|fin/, "a FIN while the frame is not acknowledged");
});

test("a client that ends with its upgrade request gets the 101 and what follows", async (t) => {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker] });
  const client = await rawClient(t, lb);
  await client.fin(UPGRADE);
  const up = await worker.accepted();
  await up.head();
  assert.equal(await up.ended(), "fin");
  await up.fin(`${SWITCH}frame`);
  assert.deepEqual(await client.rest(), { text: `${SWITCH}frame`, end: "fin" });
  await lb.untilMetrics((m) => m.tunnels === 0 && m.clients === 0);
});
