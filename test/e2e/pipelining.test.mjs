/* Several requests in one segment: each goes to the worker of its own sid, the answers come in order. */
import assert from "node:assert/strict";
import test from "node:test";

import { answers, get, HANDSHAKE, openAnswer, post, rawClient, response, scriptedWorker, teach } from "./lib/scripted.mjs";
import { siolb } from "./lib/siolb.mjs";

const poll = (sid, ...fields) => get(`${HANDSHAKE}&sid=${sid}`, ...fields);

/** Workers that answer handshakes; requests with a sid are held until `release()`, and noted in `got`. */
async function fleetAndLb(t, count) {
  const got = [];
  const holds = [];
  const workers = [];
  for (let n = 0; n < count; n++) {
    const id = `w${n}`;
    const script = answers(({ method, target, body }) => {
      if (!target.includes("sid=")) return openAnswer(id);
      got.push(id);
      return new Promise((resolve) => holds.push(() => resolve(response(`${id} ${method} ${body}`))));
    });
    workers.push(await scriptedWorker(t, { id, script }));
  }
  const lb = await siolb(t, { workers, proxy: { balance: "round-robin" } });
  const sids = await teach(lb, workers);
  const held = async (n) => lb.untilMetrics(() => holds.length >= n);
  return { lb, sids, got, held, release: () => holds.shift()() };
}

test("two sids in one segment: each to its own worker, the second not before the first is answered, answers in order", async (t) => {
  const { lb, sids, got, held, release } = await fleetAndLb(t, 2);
  const client = await rawClient(t, lb);
  await client.send(poll(sids[1]) + poll(sids[0]));
  await held(1);
  await client.quiet();
  assert.deepEqual(got, ["w1"], "one request at a time");
  release();
  await client.expect(response("w1 GET "));
  await held(1);
  assert.deepEqual(got, ["w1", "w0"]);
  release();
  await client.expect(response("w0 GET "));
  assert.equal(await lb.metric("route_known_total"), 2);
});

test("twenty requests of four sids, with bodies, in one segment: everyone to its worker, in order", async (t) => {
  const { lb, sids, held, release } = await fleetAndLb(t, 4);
  const client = await rawClient(t, lb);
  const order = Array.from({ length: 20 }, (_, n) => (n * 7) % 4);
  await client.send(order.map((who, n) => (n % 2 ? post(`${HANDSHAKE}&sid=${sids[who]}`, `body ${n}`) : poll(sids[who]))).join(""));
  for (const [n, who] of order.entries()) {
    await held(1);
    release();
    await client.expect(response(n % 2 ? `w${who} POST body ${n}` : `w${who} GET `));
  }
});

test("requests cut at every byte are the same requests", async (t) => {
  const { lb, sids, held, release } = await fleetAndLb(t, 2);
  const client = await rawClient(t, lb);
  for (const byte of post(`${HANDSHAKE}&sid=${sids[1]}`, "4hello") + poll(sids[0])) {
    await client.send(byte);
    await new Promise(setImmediate);
  }
  for (const answer of ["w1 POST 4hello", "w0 GET "]) {
    await held(1);
    release();
    await client.expect(response(answer));
  }
});

test("a chunked request, its trailers, and the next request in one segment are told apart", async (t) => {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker] });
  const client = await rawClient(t, lb);
  const chunked = "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;x=1\r\nGET /\r\n0\r\nTrailer: 1\r\n\r\n";
  await client.send(chunked + get("/b"));
  const up = await worker.accepted();
  await up.expect(chunked);
  await up.quiet();
  await up.send(response("a"));
  await up.expect(get("/b"));
  await up.send(response("b"));
  await client.expect(response("a") + response("b"));
});

test("a refused request behind good ones: the good ones are answered first, then the refusal, then the end", async (t) => {
  const worker = await scriptedWorker(t, { script: answers(({ target }) => response(target)) });
  const lb = await siolb(t, { workers: [worker] });
  const client = await rawClient(t, lb);
  await client.send(get("/1") + get("/2") + "GET /3 HTTP/1.1\r\nHost: x\r\nBad Name: x\r\n\r\n" + get("/4"));
  await client.expect(response("/1") + response("/2"));
  const { text, end } = await client.rest();
  assert.match(text, /^HTTP\/1\.1 400 Bad Request\r\n[^]*\r\nConnection: close\r\n/);
  assert.equal(text.split("HTTP/1.1 ").length, 2, "and nothing behind it");
  assert.equal(end, "fin");
});

test("more pipelined requests than the buffer holds: siolb stops reading, and all are answered", async (t) => {
  const worker = await scriptedWorker(t, { script: answers(({ target }) => response(target.slice(0, 6))) });
  const lb = await siolb(t, { workers: [worker], limits: { buffer: "4k" } });
  const client = await rawClient(t, lb);
  const count = 300;
  const number = (n) => `/${String(n).padStart(5, "0")}`;
  await client.send(Array.from({ length: count }, (_, n) => get(`${number(n)}${"x".repeat(200)}`)).join(""));
  for (let n = 0; n < count; n++) await client.expect(response(number(n)));
});
