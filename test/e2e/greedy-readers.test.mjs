/*
 * Clients and workers that read slowly or not at all while much waits for them: who writes has to wait, siolb's memory
 * stays flat, no file takes the bytes, and nobody else notices. Not under ASan: it measures memory.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync, readlinkSync } from "node:fs";
import test from "node:test";

import { ordinaryClients, ordinaryWorker } from "./lib/ordinary.mjs";
import { get, rawClient, SWITCH } from "./lib/scripted.mjs";
import { siolb } from "./lib/siolb.mjs";

const EACH = 5; /* of every kind */
const BULK = 100 << 20; /* for each: more than the kernel takes (up to some 70 MiB), so that much of it waits */
const BUFFER = 64 << 10;
const PIECE = Buffer.alloc(64 << 10, "0123456789abcdef");
const GROWTH_MAX = 8 << 20; /* all their buffers, and what ordinary clients take */
const SIPS = 5;
const WAIT_MS = 60_000;

const PIPELINERS = 8;
const PIPELINED = 20_000;

/** What siolb has open beside sockets, pipes and events. */
function files(lb) {
  const directory = `/proc/${lb.pid}/fd`;
  const links = readdirSync(directory).map((fd) => readlinkSync(`${directory}/${fd}`));
  return links.filter((link) => !/^(socket|pipe|anon_inode):/.test(link));
}

/** Write as fast as it is taken, until the row has had enough. */
async function pour(row) {
  for (; row.sent < BULK && !row.is_enough; row.sent += PIECE.length) {
    if (!row.writer.write(PIECE)) await once(row.writer, "drain");
  }
  if (row.kind === "response") row.writer.end();
}

/** Until no byte has moved while the ordinary clients were served: those who write are stopped. */
async function standstill(lb, ordinary, moved) {
  for (let before = -1, same = 0; same < 3; ) {
    await ordinary.served(3);
    const now = moved();
    same = now === before ? same + 1 : 0;
    before = now;
  }
}

test("15 slow readers, far more than 200 MB waiting: memory is flat, nothing is spooled, what was sent arrives", async (t) => {
  const ups = new Map(); /* target -> the worker's end */
  const worker = await ordinaryWorker(t, {
    answer: (req, res) => {
      res.useChunkedEncodingByDefault = false; /* it ends with its connection */
      res.writeHead(200);
      res.flushHeaders();
      ups.set(req.url, res);
    },
    upgrade: (up, req) => {
      ups.set(req.url, up);
      up.send(SWITCH);
    },
  });
  const lb = await siolb(t, { workers: [worker] });
  const ordinary = await ordinaryClients(t, lb);
  await ordinary.served(20);
  const before = lb.rss();
  const files_before = files(lb);

  /* Each row: who reads slowly, and where its bytes are written. */
  const rows = [];
  for (let n = 0; n < EACH; n++) {
    for (const kind of ["response", "down", "up"]) {
      const target = `/${kind}/${n}`;
      const client = await rawClient(t, lb);
      await client.send(kind === "response" ? get(target) : get(target, "Connection: Upgrade", "Upgrade: websocket"));
      await client.head();
      rows.push({ kind, client, far: ups.get(target) });
    }
  }
  for (const row of rows) {
    row.reader = row.kind === "up" ? row.far : row.client;
    row.writer = { response: row.far, down: row.far.socket, up: row.client.socket }[row.kind];
    row.sent = 0;
    row.reader.countOnly();
    row.reader.pause();
  }
  const pours = rows.map(pour);
  const sent = () => rows.reduce((sum, row) => sum + row.sent, 0);
  await standstill(lb, ordinary, sent);

  for (let sip = 0; sip < SIPS; sip++) {
    for (const { reader } of rows) {
      reader.resume();
      reader.socket.once("data", () => reader.pause());
    }
    await ordinary.served(5);
    assert.ok(rows.every((row) => row.sent < BULK), "everyone who writes waits");
    const { buffered_bytes } = await lb.metrics();
    assert.ok(buffered_bytes > 0 && buffered_bytes <= rows.length * BUFFER, `${buffered_bytes} bytes buffered`);
    assert.ok(lb.rss() - before < GROWTH_MAX, `grew by ${lb.rss() - before} bytes`);
    assert.deepEqual(files(lb), files_before, "nothing is written to a file");
  }

  rows.forEach((row) => (row.is_enough = true));
  rows.forEach(({ reader }) => reader.resume());
  await Promise.all(pours);
  for (const row of rows) {
    await row.reader.until("all bytes", () => row.reader.counted >= row.sent, WAIT_MS);
    assert.equal(row.reader.counted, row.sent);
  }
  await ordinary.served(5);
  assert.ok(lb.rss() - before < GROWTH_MAX, `grew by ${lb.rss() - before} bytes`);
  await lb.untilMetrics((m) => m.buffered_bytes === 0);
});

test("8 clients that pipeline without end and read nothing: little is asked of the worker, little is kept", async (t) => {
  const worker = await ordinaryWorker(t, { answer: (req, res) => res.end("x".repeat(10_000)) });
  const lb = await siolb(t, { workers: [worker] });
  const ordinary = await ordinaryClients(t, lb);
  await ordinary.served(20);
  const before = lb.rss();
  const clients = await Promise.all(Array.from({ length: PIPELINERS }, () => rawClient(t, lb)));
  for (const client of clients) {
    client.pause();
    client.send(get("/again").repeat(PIPELINED)).catch(() => {});
  }
  await lb.untilMetrics((m) => m.buffered_bytes > 0);
  await standstill(lb, ordinary, () => worker.strangers.length);
  const { buffered_bytes } = await lb.metrics();
  assert.ok(buffered_bytes <= PIPELINERS * 3 * BUFFER, `${buffered_bytes} bytes buffered`);
  assert.ok(lb.rss() - before < GROWTH_MAX, `grew by ${lb.rss() - before} bytes`);
  assert.ok(worker.strangers.length < (PIPELINERS * PIPELINED) / 10, `${worker.strangers.length} requests`);
  await Promise.all(clients.map((client) => client.reset()));
  await lb.untilMetrics((m) => m.clients <= ordinary.connections && m.buffered_bytes === 0);
});
