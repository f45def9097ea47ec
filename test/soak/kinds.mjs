/*
 * kinds - every kind of client, as one life each: it comes, talks, and goes, politely or not.
 *
 * A kind is called with { part, lb, next, shared, knows } and throws when something is not as it should be: Disconnected,
 * Lost or Refused where the fleet's trouble may have done that (excuses.mjs). `knows(id)`: the worker that has its session.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";

import { io } from "socket.io-client";
import WebSocket from "ws";

import { connect, Disconnected, faultOf, POLLING, UPGRADING, WEBSOCKET } from "../e2e/lib/clients.mjs";
import { defer, within } from "../e2e/lib/defer.mjs";
import { agent, Lost, ok, Refused, request } from "../e2e/lib/http.mjs";
import { poll } from "../e2e/lib/polling.mjs";
import { get, HANDSHAKE, post, rawClient, UPGRADE } from "../e2e/lib/scripted.mjs";
import { isLoss } from "./excuses.mjs";

const WAIT_MS = 60_000;
const WORKER_ID = /^w\d+\.\d+$/;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Gone without a goodbye: the websocket by RST, polls with their connections. */
function vanish(client, own) {
  client.engine.transport.ws?._socket?.resetAndDestroy();
  own?.destroy();
}

/** `act`, or an error as soon as the client has lost its connection, which it need not notice by itself. */
function whileConnected(client, act) {
  const lost = new Promise((_, reject) => client.socket.once("disconnect", (why) => reject(new Disconnected(client, why))));
  const acts = act();
  acts.catch(() => {});
  lost.catch(() => {});
  return Promise.race([acts, lost]);
}

/** A real Socket.IO client. */
function real(options, { shares = false } = {}) {
  return async ({ part, lb, next, shared, knows }) => {
    const own = shares ? shared : agent(part);
    const client = await connect(part, lb.url, { ...options, agent: own });
    knows(client.worker);
    await whileConnected(client, async () => {
      for (let round = next(4); round >= 0; round--) {
        await client.talk(1 + next(10), { window: 1 + next(4), payload: "x".repeat(next(3) ? next(50) : next(20_000)) });
        await client.listen(1 + next(5), { text: "grüße", round });
        await pause(next(150));
      }
      if (options.transports === UPGRADING.transports && next(2)) {
        await client.upgraded();
        await client.talk(3);
      }
    });
    if (next(5) === 0 && !shares) vanish(client, own);
    else client.close();
  };
}

/** The polls that no real client makes under Node. */
function handmade(options) {
  return async ({ part, lb, next, knows }) => {
    const client = await poll(part, lb.url, options);
    knows(client.worker);
    for (let round = next(3); round >= 0; round--) {
      await client.talk(1 + next(4), "words");
      await pause(next(150));
    }
    if (next(3)) await client.close();
  };
}

/** One that stays for long and comes back by itself, however often its worker goes. */
async function reconnecting({ part, lb, next }) {
  const transports = [POLLING, UPGRADING, WEBSOCKET][next(3)];
  const socket = io(lb.url, { ...transports, agent: agent(part), forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 500, timeout: WAIT_MS });
  defer(part, () => socket.close());
  let odd; /* an end that no trouble explains, which it would come back from in silence */
  const onLoss = (why, error) => {
    const fault = error instanceof Error ? faultOf(error) : null;
    const loss = new Disconnected({ fault }, why);
    if (!isLoss(loss)) odd ??= new Error(`${loss.message}, ${fault?.status ?? fault}`, { cause: error });
  };
  socket.on("disconnect", onLoss);
  socket.on("connect_error", (error) => onLoss(error.message, error));
  for (let asks = 20 + next(100); asks > 0; asks--) {
    if (!socket.connected) await within(WAIT_MS, "a client to come back", once(socket, "connect"));
    const answer = socket.timeout(WAIT_MS).emitWithAck("take", "y".repeat(asks));
    const bytes = await answer.catch((error) => {
      if (socket.connected) throw error; /* else its connection went, and this one comes back */
    });
    if (bytes !== undefined) assert.equal(bytes, asks);
    if (odd) throw odd;
    await pause(next(100));
  }
}

/** Engine.IO and Socket.IO by hand over a plain websocket. */
async function rawWebsocket({ part, lb, next, knows }) {
  const ws = new WebSocket(`${lb.url.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket`);
  const packets = [];
  let wake = () => {};
  ws.on("message", (data) => packets.push(String(data)) && wake());
  ws.on("close", () => packets.push(null) && wake());
  let cause;
  ws.on("error", (error) => (cause ??= error));
  defer(part, () => ws.terminate());
  const packet = async () => {
    for (;;) {
      while (packets.length === 0) await new Promise((resolve) => (wake = resolve));
      const got = packets.shift();
      if (got === null) throw new Lost("the websocket closed", { cause });
      if (got !== "2") return got;
      ws.send("3");
    }
  };
  const event = async () => JSON.parse((await within(WAIT_MS, "an event", packet())).slice(2));
  assert.match(await within(WAIT_MS, "the open packet", packet()), /^0\{"sid":"w/);
  ws.send("40");
  assert.match(await within(WAIT_MS, "the connect packet", packet()), /^40/);
  const [, worker] = await event();
  knows(worker);
  for (let n = 0; n < 5 + next(20); n++) {
    ws.send(`42${JSON.stringify(["say", n, worker, "raw"])}`);
    assert.deepEqual(await event(), ["said", n, "raw"]);
  }
  if (next(3) === 0) ws._socket.resetAndDestroy();
  else if (next(2)) ws.terminate();
  else ws.close();
}

async function plain({ lb, next, shared }) {
  for (let n = 1 + next(10); n > 0; n--) {
    const { text } = ok(await request(`${lb.url}/whoami`, { agent: shared }));
    assert.match(text, WORKER_ID);
  }
}

async function pipelined({ part, lb, next }) {
  const client = await rawClient(part, lb);
  const count = 2 + next(10);
  await client.send(get("/whoami").repeat(count));
  if (next(4) === 0) return client.reset();
  for (let n = 0; n < count; n++) await whoami(client);
  return next(2) ? client.fin() : client.reset();
}

/** One answer to GET /whoami, in the one chunk that Node makes of it. */
async function whoami(client) {
  const head = await due(client, () => client.head(WAIT_MS), (text) => text === "");
  const length = Number(/\r\nContent-Length: (\d+)\r\n/.exec(head)?.[1]);
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1]);
  if (status !== 200) throw new Refused({ status, text: await due(client, () => client.read(length || 0), () => true) });
  assert.match(head, /\r\nTransfer-Encoding: chunked\r\n/);
  const size = await due(client, () => line(client), (text) => text === "");
  assert.match(size, /^[1-9a-f]\r\n$/);
  const rest = await due(client, () => client.read(parseInt(size, 16) + 7), isBegun);
  assert.match(rest, /^w\d+\.\d+\r\n0\r\n\r\n$/);
}

async function line(client) {
  let got = "";
  while (!got.endsWith("\r\n")) got += await client.read(1);
  return got;
}

/** Is it how a worker's id begins, in a chunk behind its size? */
const isBegun = (text) => "w0.0\r\n0\r\n\r\n".startsWith(text.replace(/\d+/g, "0"));

/** What `read` gives, or Lost where the connection ended before and `is_good` says so of what is there. */
async function due(client, read, is_good) {
  try {
    return await read();
  } catch (error) {
    if (client.end_seen && is_good(client.unread)) throw new Lost(error.message);
    throw error;
  }
}

/** A poll whose client leaves while it is held: its worker ends the session, and says so when asked. */
async function abortedPoll({ part, lb, next, knows }) {
  const own = agent(part);
  const { text } = ok(await request(lb.url + HANDSHAKE, { agent: own }));
  const { sid } = JSON.parse(text.slice(1));
  knows(sid.split("~")[0]);
  const target = `${lb.url}${HANDSHAKE}&sid=${sid}`;
  const held = http.request(target, { agent: own });
  held.on("error", () => {});
  held.end();
  await pause(next(200));
  held.destroy();
  const answer = await request(target, { agent: own });
  if (answer.status !== 400) ok(answer);
}

const RUDE = [
  get("/whoami"),
  get("/whoami").repeat(20),
  post("/whoami", "x".repeat(3_000)),
  "POST /whoami HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
  "POST /whoami HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhellohello",
  get(HANDSHAKE),
  UPGRADE,
  "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
];

/** Anything, cut anywhere, and gone in any way. */
async function rude({ part, lb, next }) {
  const client = await rawClient(part, lb);
  const bytes = RUDE[next(RUDE.length)];
  await client.send(next(2) ? bytes : bytes.slice(0, next(bytes.length))).catch(() => {});
  await pause(next(30));
  const end = next(4);
  if (end === 0) await client.reset();
  else if (end === 1) await client.fin().catch(() => {});
  else if (end === 2) await client.fin("more").catch(() => {});
  await pause(next(30));
}

export const kinds = {
  "4.x, polling": real(POLLING),
  "4.x, polling, shared connections": real(POLLING, { shares: true }),
  "4.x, upgrading": real(UPGRADING),
  "4.x, websocket": real(WEBSOCKET),
  "2.x, polling": real({ ...POLLING, version: 2 }),
  "2.x, upgrading": real({ ...UPGRADING, version: 2 }),
  "2.x, websocket": real({ ...WEBSOCKET, version: 2 }),
  "JSONP, EIO 3": handmade({ eio: 3, jsonp: true }),
  "JSONP, EIO 4": handmade({ eio: 4, jsonp: true }),
  "gzip": handmade({ eio: 4, coding: "gzip" }),
  "deflate, EIO 3": handmade({ eio: 3, coding: "deflate" }),
  "reconnecting": reconnecting,
  "a websocket by hand": rawWebsocket,
  "plain HTTP": plain,
  "pipelined": pipelined,
  "an aborted poll": abortedPoll,
  "rude": rude,
};
