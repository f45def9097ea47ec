/*
 * scripted - peers that do on the wire what real ones cannot be made to do: raw bytes out, raw bytes in, FIN, RST,
 * silence, and several of them at one moment.
 *
 *   const worker = await scriptedWorker(t);          const client = await rawClient(t, lb);
 *   const up = await worker.accepted();              await client.send(GET);
 *   assert.equal(await up.head(), GET);              await client.expect("HTTP/1.1 200 OK\r\n...");
 *   await up.send(response("hello"));                assert.equal(await client.ended(), "fin");
 *
 * Both sides are a Peer. Nothing is answered by itself: a FIN that arrives is not returned (half-close). Two limits of
 * libuv: a RST that arrives in one wake-up with data looks like a FIN, and one after a FIN is not seen before a write.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import net from "node:net";

import { defer, within } from "./defer.mjs";
import { openPacket } from "./http.mjs";

const WAIT_MS = 10_000;
const QUIET_MS = 150;

export const GET = "GET /plain HTTP/1.1\r\nHost: x\r\n\r\n";
export const HANDSHAKE = "/socket.io/?EIO=4&transport=polling";

/** The head of a request without a body; `fields` as written on the wire, without their line ends. */
export function get(target, ...fields) {
  return ["GET " + target + " HTTP/1.1", "Host: x", ...fields, "", ""].join("\r\n");
}

export function post(target, body, ...fields) {
  return [`POST ${target} HTTP/1.1`, "Host: x", `Content-Length: ${body.length}`, ...fields, "", body].join("\r\n");
}

/** A response with a length. */
export function response(body, { status = "200 OK", fields = [] } = {}) {
  return [`HTTP/1.1 ${status}`, ...fields, `Content-Length: ${body.length}`, "", body].join("\r\n");
}

export const UPGRADE = get(
  "/socket.io/?EIO=4&transport=websocket",
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
);

export const SWITCH = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

/** One end of a connection, in the hands of the test. */
export class Peer {
  #kept = [];
  #bytes = 0;
  #counts = false;
  #waiters = new Set();

  constructor(t, socket, what) {
    this.socket = socket;
    this.what = what;
    this.end_seen = null; /* "fin", "reset", or another error's code */
    this.counted = 0; /* bytes that came after countOnly() */
    socket.setNoDelay(true);
    socket.on("data", (chunk) => this.#take(chunk));
    socket.on("end", () => this.#note("fin"));
    socket.on("error", (error) => this.#note(error.code === "ECONNRESET" ? "reset" : error.code));
    defer(t, () => socket.destroy());
  }

  #take(chunk) {
    if (this.#counts) this.counted += chunk.length;
    else this.#kept.push(chunk);
    this.#bytes += this.#counts ? 0 : chunk.length;
    this.#wake();
  }

  #note(end) {
    if (this.end_seen === null || end === "reset") this.end_seen = end;
    this.#wake();
  }

  #wake() {
    for (const waiter of this.#waiters) if (waiter.fits()) waiter.resolve();
  }

  /** Until `fits` says so; bytes and ends make it look. */
  until(what, fits, wait_ms = WAIT_MS) {
    if (fits()) return Promise.resolve();
    const waiter = { fits };
    const came = new Promise((resolve) => (waiter.resolve = resolve));
    this.#waiters.add(waiter);
    const shown = () => `${what} at the ${this.what}; here are ${JSON.stringify(this.#all().toString("latin1").slice(0, 300))}, end: ${this.end_seen}`;
    const bounded = wait_ms === Infinity ? came : within(wait_ms, what, came);
    return bounded
      .catch((error) => {
        throw new Error(`${error.message}: ${shown()}`);
      })
      .finally(() => this.#waiters.delete(waiter));
  }

  #all() {
    if (this.#kept.length > 1) this.#kept = [Buffer.concat(this.#kept)];
    return this.#kept[0] ?? Buffer.alloc(0);
  }

  #shift(n) {
    const all = this.#all();
    this.#kept = n < all.length ? [all.subarray(n)] : [];
    this.#bytes -= n;
    return all.subarray(0, n);
  }

  /** From now on bytes are counted and thrown away. */
  countOnly() {
    this.counted = this.#bytes;
    this.#kept = [];
    this.#bytes = 0;
    this.#counts = true;
  }

  /** Take no byte from the kernel until resume(). */
  pause() {
    this.socket.pause();
  }

  resume() {
    this.socket.resume();
  }

  /** Ends when the kernel has the bytes; never where the other side does not read. */
  send(bytes) {
    return new Promise((resolve, reject) => this.socket.write(bytes, "latin1", (error) => (error ? reject(error) : resolve())));
  }

  /** FIN, behind `bytes`; the other direction stays open. Ends when the kernel has it. */
  fin(bytes) {
    return new Promise((resolve) => this.socket.end(bytes, "latin1", resolve));
  }

  /** RST, and nothing of this connection is left. */
  async reset() {
    const closed = once(this.socket, "close");
    this.socket.resetAndDestroy();
    await closed;
  }

  async read(n) {
    await this.until(`${n} bytes`, () => this.#bytes >= n || this.end_seen);
    assert.ok(this.#bytes >= n, `${this.what}: ${n} bytes before its end (${this.end_seen}), not ${JSON.stringify(this.#all().toString("latin1"))}`);
    return this.#shift(n).toString("latin1");
  }

  /** Exactly these bytes come next. */
  async expect(text) {
    await this.until(JSON.stringify(text.slice(0, 200)), () => this.#bytes >= text.length || this.end_seen || !text.startsWith(this.#all().toString("latin1")));
    assert.equal(this.#all().subarray(0, text.length).toString("latin1"), text, this.what);
    this.#shift(text.length);
  }

  /** Everything up to the next empty line. */
  async head(wait_ms) {
    const at = () => this.#all().indexOf("\r\n\r\n");
    await this.until("a head", () => at() >= 0 || this.end_seen, wait_ms);
    assert.ok(at() >= 0, `${this.what}: a head before its end (${this.end_seen}), not ${JSON.stringify(this.#all().toString("latin1"))}`);
    return this.#shift(at() + 4).toString("latin1");
  }

  /** A response with a length: {status, head, body}. */
  async response() {
    const head = await this.head();
    const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
    return { status: Number(head.split(" ")[1]), head, body: await this.read(length) };
  }

  /** What came until its end: {text, end}. */
  async rest() {
    await this.until("an end", () => this.end_seen !== null);
    return { text: this.#shift(this.#bytes).toString("latin1"), end: this.end_seen };
  }

  /** "fin" or "reset", with no byte before it. */
  async ended() {
    const { text, end } = await this.rest();
    assert.equal(text, "", `${this.what}: nothing more before its end`);
    return end;
  }

  get has_bytes() {
    return this.#bytes > 0;
  }

  /** What has come and was not asked for yet. */
  get unread() {
    return this.#all().toString("latin1");
  }

  /** Forget it. */
  drop() {
    this.#shift(this.#bytes);
  }

  /** No byte and no end for a moment: absence has no event. */
  async quiet(ms = QUIET_MS) {
    await new Promise((resolve) => setTimeout(resolve, ms));
    assert.equal(this.#all().toString("latin1"), "", `nothing comes to the ${this.what}`);
    assert.equal(this.end_seen, null, `the ${this.what} is not ended`);
  }
}

class ScriptedWorker {
  #server;
  #accepted = [];
  #waiting = [];

  constructor(t, id, script, options) {
    this.id = id;
    this.connections = 0;
    this.#server = net.createServer({ allowHalfOpen: true, ...options }, (socket) => {
      const up = new Peer(t, socket, `worker ${id}, connection ${this.connections++}`);
      if (script) this.#play(script, up);
      else if (this.#waiting.length > 0) this.#waiting.shift()(up);
      else this.#accepted.push(up);
    });
  }

  /* A script that fails because its connection ended has nothing to say. */
  #play(script, up) {
    script(up, this.connections - 1).catch((error) => {
      if (up.end_seen === null && !up.socket.destroyed) throw error;
    });
  }

  async listen(port = 0) {
    this.#server.listen(port, "127.0.0.1");
    await once(this.#server, "listening");
    this.port = this.#server.address().port;
    this.address = `127.0.0.1:${this.port}`;
  }

  /** Connects are refused from now on; what is open stays open. */
  refuse() {
    this.#server.close();
  }

  /** The next connection that nobody has asked for yet. */
  accepted() {
    if (this.#accepted.length > 0) return Promise.resolve(this.#accepted.shift());
    const came = new Promise((resolve) => this.#waiting.push(resolve));
    return within(WAIT_MS, `a connection to worker ${this.id}`, came);
  }
}

/**
 * A worker whose connections are taken with accepted(), or played by `script(up, number)`. Options: `id`, `port`, and
 * those of net.createServer (pauseOnConnect: read nothing).
 */
export async function scriptedWorker(t, { id = "w0", script, port, ...options } = {}) {
  const worker = new ScriptedWorker(t, id, script, options);
  defer(t, () => worker.refuse());
  await worker.listen(port);
  return worker;
}

/** A script: answers each request (a head, a body by its length) with what `answer(request, up)` gives. */
export function answers(answer) {
  return async (up) => {
    for (;;) {
      const head = await up.head(Infinity);
      const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
      const body = await up.read(length);
      const [method, target] = head.split(" ");
      await up.send(await answer({ method, target, head, body }, up));
    }
  };
}

/** Workers that teach a sid each (`sids[n]`) by their first handshake, in order with balance = round-robin. */
export async function teach(lb, workers) {
  const url = `${lb.url}${HANDSHAKE}`;
  const sids = {};
  while (Object.keys(sids).length < workers.length) {
    const text = await (await fetch(url)).text();
    const { sid } = JSON.parse(text.slice(1));
    sids[sid.split("-")[0]] ??= sid;
  }
  return workers.map((worker) => sids[worker.id]);
}

let minted = 0;

/** An answer to a handshake at worker `id`, with a sid that names it. */
export function openAnswer(id, more) {
  return response(openPacket(`${id}-0123456789abcdef-${minted++}`, more));
}

/** A connection to siolb. Options are those of net.connect. */
export async function rawClient(t, lb, options = {}) {
  const socket = net.connect({ port: lb.port, host: "127.0.0.1", allowHalfOpen: true, ...options });
  await within(WAIT_MS, "a connection to siolb", once(socket, "connect"));
  return new Peer(t, socket, "client");
}

/** A websocket through siolb: {client, up}, both behind the heads. */
export async function tunnel(t, lb, worker) {
  const client = await rawClient(t, lb);
  await client.send(UPGRADE);
  const up = await worker.accepted();
  await up.head();
  await up.send(SWITCH);
  await client.expect(SWITCH);
  return { client, up };
}

/** Freeze siolb, let `act` happen, and let it go on: it meets all of it in one wake-up, in the order of `act`. */
export async function inOneWakeUp(lb, act) {
  await lb.metrics(); /* what happened before is behind it */
  lb.signal("SIGSTOP");
  try {
    for (;;) {
      const state = readFileSync(`/proc/${lb.pid}/stat`, "utf8").split(") ")[1][0];
      if (state === "T") break;
      await new Promise(setImmediate);
    }
    await act();
  } finally {
    lb.signal("SIGCONT");
  }
}
