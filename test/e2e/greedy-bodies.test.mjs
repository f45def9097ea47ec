/* Bodies that take their time, and messages in thousands of pieces: they pass as they are, and nobody else waits. */
import assert from "node:assert/strict";
import { once } from "node:events";
import test, { describe } from "node:test";

import { ordinaryClients, ordinaryWorker } from "./lib/ordinary.mjs";
import { get, rawClient, SWITCH } from "./lib/scripted.mjs";
import { siolb } from "./lib/siolb.mjs";

const SLOW = 150;
const DRIP_MS = 10;
const PIECES = 20_000;
const FRAMES = 5_000;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A worker that answers with the body that it got. */
async function echo(req, res) {
  const chunks = await req.toArray();
  const body = Buffer.concat(chunks);
  res.writeHead(200, { "Content-Length": body.length });
  res.end(body);
}

async function start(t, worker, timeouts = {}) {
  const lb = await siolb(t, { workers: [worker], timeouts });
  return { lb, ordinary: await ordinaryClients(t, lb, { keeps: !timeouts.keepalive }) };
}

/* Far more than an ordinary newcomer needs for its head, however it is held up. */
const SHORT = { head: "5s", keepalive: "5s" };

/** Until a connection that says nothing has ended: SHORT is over for all that began before. */
async function shortIsOver(t, lb) {
  const silent = await rawClient(t, lb);
  await silent.until("its end", () => silent.end_seen, 60_000);
}

const LENGTH = "POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 26\r\n\r\n";
const CHUNKED = "POST /slow HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
const ALPHABET = "abcdefghijklmnopqrstuvwxyz";
const BODIES = [
  [LENGTH, ALPHABET],
  [CHUNKED, `1a;a="b c"\r\n${ALPHABET}\r\n0\r\nTrailer: x\r\n\r\n`],
  [CHUNKED, `${[...ALPHABET].map((letter) => `1\r\n${letter}\r\n`).join("")}0\r\n\r\n`],
];

/* Most of their time is waiting. */
describe("side by side", { concurrency: 2 }, () => {
  test("150 bodies that drip, in length and in chunks, cut anywhere: each arrives whole, however short the timeouts", async (t) => {
    const worker = await ordinaryWorker(t, { answer: echo });
    const { lb, ordinary } = await start(t, worker, SHORT);
    const slow = await Promise.all(
      Array.from({ length: SLOW }, async (_, n) => {
        const [head, body] = BODIES[n % BODIES.length];
        const client = await rawClient(t, lb);
        await client.send(head);
        return { client, body };
      }),
    );
    await lb.untilMetrics((m) => m.exchanges >= SLOW);
    const over = shortIsOver(t, lb);
    for (let at = 0; slow.some(({ body }) => at < body.length); at++) {
      if (at === ALPHABET.length - 1) await over;
      await Promise.all(slow.map(({ client, body }) => client.send(body.slice(at, at + 1))));
      await pause(DRIP_MS);
    }
    for (const { client } of slow) {
      const { status, body } = await client.response();
      assert.deepEqual([status, body], [200, ALPHABET]);
    }
    await ordinary.served(10);
    assert.equal(worker.strangers.length, SLOW);
    assert.equal((await lb.metrics()).buffered_bytes, 0);
  });

  test("150 bodies that stop in the middle: their worker has them until their client leaves, and then hears of it", async (t) => {
    let begun = 0;
    let aborted = 0;
    const worker = await ordinaryWorker(t, {
      answer: (req) => {
        req.on("data", () => begun++);
        req.on("error", () => aborted++);
      },
    });
    const { lb, ordinary } = await start(t, worker, SHORT);
    const slow = await Promise.all(Array.from({ length: SLOW }, () => rawClient(t, lb)));
    await Promise.all(slow.map((client, n) => client.send(n % 2 ? `${LENGTH}abc` : `${CHUNKED}3\r\nabc\r\n`)));
    await lb.untilMetrics((m) => m.exchanges >= SLOW && begun === SLOW);
    await ordinary.served(10);
    await shortIsOver(t, lb);
    assert.equal(aborted, 0);
    await Promise.all(slow.map((client, n) => (n % 3 ? client.fin() : client.reset())));
    await lb.untilMetrics((m) => aborted === SLOW && m.exchanges <= ordinary.connections);
    await ordinary.served(10);
  });
});

test("a request and an answer of 20,000 chunks of one byte arrive as they were cut", async (t) => {
  const chunked = `${"1\r\nx\r\n".repeat(PIECES)}0\r\n\r\n`;
  let pieces = 0;
  const worker = await ordinaryWorker(t, {
    answer: async (req, res) => {
      for await (const piece of req) pieces += piece.length;
      for (let n = 0; n < PIECES; n++) res.write("x");
      res.end();
    },
  });
  const { lb, ordinary } = await start(t, worker);
  const clients = await Promise.all([1, 2, 3].map(() => rawClient(t, lb)));
  await Promise.all(clients.map((client) => client.send(CHUNKED + chunked)));
  for (const client of clients) {
    assert.match(await client.head(), /^HTTP\/1\.1 200 OK\r\n[^]*\r\nTransfer-Encoding: chunked\r\n/);
    await client.expect(chunked);
  }
  assert.equal(pieces, 3 * PIECES);
  await ordinary.served(10);
});

test("10,000 frames of three bytes, a write each, both ways at once, arrive in order", async (t) => {
  const ups = [];
  const worker = await ordinaryWorker(t, {
    upgrade: (up) => {
      ups.push(up);
      up.send(SWITCH);
    },
  });
  const { lb, ordinary } = await start(t, worker);
  const client = await rawClient(t, lb);
  await client.send(get("/frames", "Connection: Upgrade", "Upgrade: websocket"));
  await client.expect(SWITCH);
  const [up] = ups;
  const frames = Array.from({ length: FRAMES }, (_, n) => `\x81\x01${String.fromCharCode(n % 251)}`);
  const write = async (peer) => {
    for (const [n, frame] of frames.entries()) {
      if (!peer.socket.write(frame, "latin1")) await once(peer.socket, "drain");
      if (n % 20 === 0) await new Promise(setImmediate); /* or the kernel makes few of many */
    }
  };
  await Promise.all([write(client), write(up)]);
  await Promise.all([client.expect(frames.join("")), up.expect(frames.join(""))]);
  await ordinary.served(10);
  await client.reset();
});
