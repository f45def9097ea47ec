/*
 * wire - plays the rows of test/wire against one siolb and its workers, and after each of them looks for damage.
 *
 *   const stage = await wireStage(t, { workers: ["a", "b"], ini: { sticky: { cookie: "io" } }, sids: { a: ..., b: ... } });
 *   await stage.play(t, row);
 *
 * Every worker is two things at once. What arrives is in the hands of the row, byte for byte, and the row answers. The
 * same bytes also go through a real Node http.Server, which tells what a worker would have taken for requests: none may
 * be a canary. Rows that are refused, and everything between two rows, Node answers itself. So the connections that a row
 * leaves in siolb's pool have to be in step with Node's parser, or the next request on them gets no answer.
 */
import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import http from "node:http";
import net from "node:net";
import { Duplex } from "node:stream";

import { defer, within } from "./defer.mjs";
import { openPacket, request } from "./http.mjs";
import { HANDSHAKE, inOneWakeUp, Peer, post, rawClient } from "./scripted.mjs";
import { siolb } from "./siolb.mjs";

const WAIT_MS = 15_000;
const TRICKLE_MS = 20;
const BYTEWISE_MAX = 20_000;
const KEEP_ALIVE = "timeout=600"; /* siolb's pool keeps what the workers keep: no row is slow enough to matter */
const CANARY_TARGET = "/canary-0000";
const INNOCENT = /[/&]innocent[-=](\d+)/;
const INNOCENT_REQUEST = /^POST \S*[/&]innocent[-=](\d+) HTTP\/1\.1\r\nHost: x\r\nContent-Length: \d+\r\n\r\nhello \1$/;

/** What a real Node server makes of the bytes of one connection. */
class Mirror extends Duplex {
  constructor(connection) {
    super();
    this.connection = connection;
    this.on("error", () => {});
  }

  /* One by one: behind a request with Upgrade Node drops what came in the same piece. */
  feed(chunk) {
    if (this.destroyed) return;
    if (chunk.length > BYTEWISE_MAX) this.push(chunk);
    else for (let n = 0; n < chunk.length; n++) this.push(chunk.subarray(n, n + 1));
  }

  _read() {}

  _write(chunk, _, done) {
    if (this.connection.worker.stage.is_serving) this.connection.peer.socket.write(chunk);
    done();
  }

  _final(done) {
    if (this.connection.worker.stage.is_serving) this.connection.peer.socket.end();
    done();
  }
}

/** A connection of siolb to a worker. */
class Connection {
  #speaks_http = true;

  constructor(t, worker, socket, number) {
    this.worker = worker;
    this.number = number;
    this.raw = ""; /* what came in the present play */
    this.is_refused_by_node = false;
    this.peer = new Peer(t, socket, `worker ${worker.id}, connection ${number}`);
    this.mirror = new Mirror(this);
    socket.on("data", (chunk) => this.#take(chunk));
    socket.on("end", () => {
      if (!this.mirror.destroyed) this.mirror.push(null);
      if (worker.stage.is_serving) socket.destroy();
      worker.stage.emit("news");
    });
    socket.on("close", () => {
      this.mirror.destroy();
      worker.stage.emit("news");
    });
    worker.parser.emit("connection", this.mirror);
  }

  #take(chunk) {
    this.raw += chunk.toString("latin1");
    if (this.#speaks_http) this.mirror.feed(chunk);
    this.worker.stage.emit("news");
  }

  /** Node would answer 400 and close. */
  refuse() {
    this.is_refused_by_node = true;
    this.mirror.destroy();
    if (this.worker.stage.is_serving) this.peer.socket.destroy();
  }

  /** What comes from here on is a tunnel's. */
  leaveHttp() {
    this.#speaks_http = false;
  }

  get is_open() {
    const { socket, end_seen } = this.peer;
    return !socket.destroyed && !socket.writableEnded && end_seen === null;
  }

  async close() {
    const closed = once(this.peer.socket, "close");
    this.peer.socket.destroy();
    await closed;
  }

  forget() {
    this.peer.drop();
    this.raw = "";
  }

  /* As a worker that is no script behaves. */
  comeToAnEnd() {
    if (!this.is_open || !this.#speaks_http) this.peer.socket.destroy();
  }
}

class WireWorker {
  #server;
  #port = 0;

  constructor(t, stage, id) {
    this.id = id;
    this.stage = stage;
    this.is_deaf = false;
    this.was_refusing = false;
    this.connections = [];
    this.held = []; /* answers that wait for each other */
    this.holds = 1;
    this.parser = http.createServer({ requireHostHeader: false, maxHeaderSize: 1 << 20 }, (req, res) => this.#serve(req, res));
    this.parser.keepAliveTimeout = 0;
    this.parser.on("clientError", (_, mirror) => mirror.connection.refuse());
    this.#server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
      this.connections.push(new Connection(t, this, socket, stage.connections_made++));
      if (!this.is_deaf) socket.resume();
      stage.emit("news");
    });
    defer(t, () => this.refuse());
  }

  async listen() {
    if (this.#server.listening) return;
    this.#server.listen(this.#port, "127.0.0.1");
    await once(this.#server, "listening");
    this.#port = this.#server.address().port;
    this.address = `127.0.0.1:${this.#port}`;
  }

  refuse() {
    this.was_refusing = true;
    if (this.#server.listening) this.#server.close();
  }

  get open() {
    return this.connections.filter((c) => c.is_open);
  }

  #serve(req, res) {
    let body = "";
    this.stage.noteParsed(`${req.method} ${req.url}`);
    req.on("error", () => {});
    res.on("error", () => {});
    req.setEncoding("latin1").on("data", (chunk) => (body += chunk));
    req.on("end", () => this.#answer(req, res, body));
  }

  #answer(req, res, body) {
    res.setHeader("Keep-Alive", KEEP_ALIVE);
    const innocent = INNOCENT.exec(req.url);
    if (innocent) {
      const answer = () => res.end(`innocent ${innocent[1]} at ${this.id} said ${body}`);
      this.held.push({ connection: req.socket.connection, answer });
      if (this.held.length === this.holds) for (const held of this.held) held.answer();
      return;
    }
    const teaches = /^\/socket\.io\/\?EIO=4&transport=polling&t=teach(\d+)$/.exec(req.url);
    res.end(teaches ? openPacket(this.stage.sids[this.id][teaches[1]], { pingInterval: 3_600_000 }) : "served by Node");
  }
}

/** One siolb, its workers, and what has to be true of them between two rows. */
class Stage extends EventEmitter {
  #connect;
  #innocents = 0;
  #fds;
  #parsed = [];
  #play; /* what is known of the play that goes on */

  constructor(options) {
    super();
    this.setMaxListeners(0);
    this.sids = options.sids;
    this.#connect = options.connect ?? rawClient;
    this.is_serving = true;
    this.connections_made = 0;
  }

  async start(t, { workers, ini }) {
    this.workers = workers.map((id) => new WireWorker(t, this, id));
    for (const worker of this.workers) await worker.listen();
    this.lb = await siolb(t, { workers: this.workers, ...ini, proxy: { balance: "round-robin", ...ini?.proxy } });
    this.#fds = this.lb.fds();
    if (this.sids) await this.#teach();
  }

  async #teach() {
    const count = Object.values(this.sids)[0].length;
    for (let n = 0; n < count; n++) {
      const taught = new Set();
      const url = `${this.lb.url}${HANDSHAKE}&t=teach${n}`;
      while (taught.size < this.workers.length) taught.add((await request(url, { agent: false })).text);
    }
  }

  noteParsed(line) {
    this.#parsed.push(line);
  }

  get connections() {
    return this.workers.flatMap((worker) => worker.connections);
  }

  workerCalled(id) {
    return id ? this.workers.find((worker) => worker.id === id) : this.workers[0];
  }

  /** What `find` finds, now or after one of the workers has news. */
  async #until(what, find) {
    let over = false;
    const found = async () => {
      for (;;) {
        const one = over || find();
        if (one) return one;
        await once(this, "news");
      }
    };
    return within(WAIT_MS, what, found()).finally(() => (over = true));
  }

  /* --- a row --- */

  /** All plays of a row, each with a look for damage behind it. `number` stamps its canary. */
  async play(t, row, number) {
    for (const [n, steps] of row.plays.entries()) {
      try {
        await this.#playOnce(t, row, steps, number);
      } catch (error) {
        /* the next row is not to suffer for it */
        await Promise.all(this.connections.map((c) => c.is_open && c.close()));
        await this.#sweepUp().catch(() => {});
        error.message = `${row.plays.length > 1 ? `play ${n + 1} of ${row.plays.length}, ` : ""}${error.message}`;
        throw error;
      }
    }
  }

  async #playOnce(t, row, steps, number) {
    const needs_counts = row.counts || steps.some((step) => step.does === "shows");
    this.#play = {
      t,
      number,
      clients: new Map(),
      ups: new Map(),
      first_connection: this.connections_made,
      ended: new Set(), /* peers whose end the row has seen or made */
      before: needs_counts ? await this.lb.metrics() : null,
    };
    this.#parsed = [];
    for (const connection of this.connections) connection.forget();
    this.is_serving = Boolean(row.is_served);
    await this.#clientCalled("client");
    await this.#run(steps, "");
    if (row.counts) await this.#shows(row.counts);
    this.#assertReach(row);
    await this.#workersAreThemselves();
    await this.#innocentAnywhere();
    this.#assertNothingLeft(row);
    await this.#sweepUp();
    await this.#assertUndamaged();
  }

  #stamp(bytes) {
    return bytes.replaceAll(CANARY_TARGET, `/canary-${String(this.#play.number).padStart(4, "0")}`);
  }

  /* The canary may be cut. */
  #stampPieces(pieces) {
    const whole = this.#stamp(pieces.join(""));
    let at = 0;
    return pieces.map((piece) => whole.slice(at, (at += piece.length)));
  }

  async #run(steps, outer) {
    for (const [n, step] of steps.entries()) {
      const at = `${outer}step ${n + 1}`;
      try {
        await this.#act(step, at);
      } catch (error) {
        const what = JSON.stringify(step.bytes ?? step.end ?? step.status ?? "").slice(0, 120);
        if (!/^step/.test(error.message)) error.message = `${at}, ${step.who} ${step.does} ${what}: ${error.message}`;
        throw error;
      }
    }
  }

  #act(step, at) {
    if (step.does === "together") return inOneWakeUp(this.lb, () => this.#run(step.steps, `${at}, `));
    if (step.does === "shows") return this.#shows(step.metrics);
    if (step.who === "worker") return this.#actWorker(step);
    return step.who.startsWith("client") ? this.#actClient(step) : this.#actUp(step);
  }

  async #actWorker({ does, at }) {
    const worker = this.workerCalled(at);
    if (does === "listens") return worker.listen();
    if (does === "refuses") worker.refuse();
    worker.is_deaf = does === "isDeaf";
    if (does !== "hears") await Promise.all(worker.open.map((connection) => connection.close()));
  }

  async #actClient(step) {
    const peer = await this.#clientCalled(step.who);
    if (step.does === "getsReply") await this.#getsReply(peer, step);
    else if (step.does === "trickles") await this.#trickles(peer, this.#stamp(step.bytes));
    else await this.#actPeer(peer, step);
  }

  async #actUp(step) {
    const connection = await this.#upCalled(step);
    if (step.at) assert.equal(connection.worker.id, step.at, "the worker that it went to");
    if (step.beside) assert.equal(connection.worker, this.#play.ups.get(step.beside).worker, `the worker of ${step.beside}`);
    if (step.does === "sends" && step.pieces.join("").includes("HTTP/1.1 101 ")) connection.leaveHttp();
    if (step.does !== "connects") await this.#actPeer(connection.peer, step);
  }

  async #actPeer(peer, step) {
    switch (step.does) {
      case "sends":
        await this.#sends(peer, this.#stampPieces(step.pieces));
        break;
      case "gets":
        await peer.expect(this.#stamp(step.bytes));
        break;
      case "ends":
        await peer.fin();
        break;
      case "resets":
        this.#play.ended.add(peer);
        await peer.reset();
        break;
      case "sees": {
        const end = await peer.ended();
        this.#play.ended.add(peer);
        if (step.end === "an end") assert.match(end, /^(fin|reset)$/);
        else assert.equal(end, step.end, "how it ended");
        break;
      }
      case "idles":
        await peer.quiet();
        break;
      default:
        assert.fail(`there is no step ${step.does}`);
    }
  }

  /* A loop turn between two pieces, so that siolb may read each alone. Nobody has to take what comes behind a refusal. */
  async #sends(peer, pieces) {
    for (const piece of pieces) {
      try {
        await peer.send(piece);
      } catch (error) {
        if (!/^(EPIPE|ECONNRESET|ERR_STREAM_DESTROYED)$/.test(error.code)) throw error;
        return;
      }
      if (pieces.length > 1) await new Promise(setImmediate);
    }
  }

  async #trickles(peer, bytes) {
    for (const byte of bytes) {
      if (peer.has_bytes || peer.end_seen) return;
      await peer.send(byte);
      await new Promise((resolve) => setTimeout(resolve, TRICKLE_MS));
    }
    assert.fail("siolb waited for all of it");
  }

  async #getsReply(peer, { status, stays, code, without_body, fields = {} }) {
    const head = await peer.head();
    const field = (name) => new RegExp(`\r\n${name}: (.*)\r\n`).exec(head)?.[1];
    assert.equal(head.slice(0, 13), `HTTP/1.1 ${status} `);
    assert.equal(field("Connection"), stays ? "keep-alive" : "close");
    assert.equal(field("Cache-Control"), "no-store");
    assert.equal(field("Content-Type"), "application/json");
    for (const [name, value] of Object.entries(fields)) assert.equal(field(name), value, name);
    if (!without_body) {
      const body = JSON.parse(await peer.read(Number(field("Content-Length"))));
      assert.deepEqual(Object.keys(body), ["code", "message"]);
      if (code !== undefined) assert.equal(body.code, code);
    }
    if (stays) return;
    assert.equal(await peer.ended(), "fin", "the reply is followed by a FIN and nothing else");
    this.#play.ended.add(peer);
  }

  async #clientCalled(who) {
    const { clients, t } = this.#play;
    if (!clients.has(who)) clients.set(who, await this.#connect(t, this.lb));
    return clients.get(who);
  }

  /* A name that is new takes a connection that has none: one with bytes on it, or one that was just made. */
  async #upCalled({ who, does, fresh }) {
    const { ups, first_connection } = this.#play;
    if (ups.has(who)) return ups.get(who);
    const is_new = fresh || does === "connects";
    const taken = new Set(ups.values());
    const fits = (c) =>
      !taken.has(c) && (!is_new || c.number >= first_connection) && (does === "connects" || c.peer.has_bytes);
    const what = `${is_new ? "a new" : "another"} connection for ${who}`;
    const connection = await this.#until(what, () => this.connections.find(fits)).catch((error) => {
      throw new Error(`${error.message}; here are ${this.#shownBytes() || "no bytes"}`);
    });
    ups.set(who, connection);
    return connection;
  }

  #shownBytes() {
    const shown = ({ peer }) => `${peer.what}: ${JSON.stringify(peer.unread.slice(0, 200))}`;
    return this.connections.filter((c) => c.peer.has_bytes).map(shown).join(", ");
  }

  async #shows(metrics) {
    const rises = (name) => name.endsWith("_total");
    const { before } = this.#play;
    const value = (m, name) => (rises(name) ? m[name] - before[name] : m[name]);
    const now = (m) => Object.fromEntries(Object.keys(metrics).map((name) => [name, value(m, name)]));
    let last;
    const shown = this.lb.untilMetrics((m) => {
      last = now(m);
      return Object.keys(metrics).every((name) => last[name] === metrics[name]);
    });
    await shown.catch(() => assert.deepEqual(last, metrics, "what siolb counted"));
  }

  /* --- what a row leaves --- */

  /* `reaches`: nobody, or at most these bytes. */
  #assertReach({ reaches }) {
    if (reaches === undefined) return;
    const got = this.connections.filter((c) => c.raw).map((c) => c.raw);
    if (reaches === "nobody") {
      assert.deepEqual(got, [], "no worker gets a byte");
      assert.equal(this.connections_made, this.#play.first_connection, "no worker is contacted");
      return;
    }
    const most = this.#stamp(reaches);
    for (const raw of got) assert.ok(most.startsWith(raw), `no worker gets more than what is good, not ${JSON.stringify(raw)}`);
  }

  #assertNothingLeft(row) {
    for (const [who, peer] of this.#play.clients) {
      assert.equal(peer.unread, "", `${who}: nothing comes that the row does not name`);
      if (!this.#play.ended.has(peer)) assert.equal(peer.end_seen, null, `${who}: no end that the row does not name`);
    }
    if (row.is_served) return;
    for (const { peer } of this.connections) {
      const unnamed = peer.unread.replace(INNOCENT_REQUEST, "");
      assert.equal(unnamed, "", `${peer.what}: nothing comes that the row does not name`);
    }
  }

  /* Node answers again, and listens, and closes what it would have closed. */
  async #workersAreThemselves() {
    this.is_serving = true;
    for (const worker of this.workers) {
      worker.is_deaf = false;
      await worker.listen();
    }
    await Promise.all(this.connections.filter((c) => c.is_open && c.is_refused_by_node).map((c) => c.close()));
  }

  /* The row's peers leave, as peers do: clients close, workers follow. */
  async #sweepUp() {
    await this.#workersAreThemselves();
    for (const peer of this.#play.clients.values()) peer.socket.destroy();
    for (const connection of this.connections) {
      connection.peer.socket.resume();
      connection.comeToAnEnd();
    }
    await this.#settle();
    for (const worker of this.workers) worker.connections = worker.open;
  }

  /* No client, no exchange, no tunnel, no byte and no descriptor is left but those of the pool, and both sides of that
   * agree on its size. */
  async #settle() {
    let seen;
    let over = false;
    const settled = async () => {
      while (!over) {
        assert.ok(!this.lb.has_exited, "siolb is alive");
        seen = this.#leftOf(await this.lb.metrics());
        if (Object.values(seen).every((value) => value === 0)) return;
        await new Promise(setImmediate);
      }
    };
    const waits = within(WAIT_MS, "siolb to be as it was", settled()).finally(() => (over = true));
    await waits.catch((error) => {
      throw new Error(`${error.message}: too many of ${JSON.stringify(seen)}`);
    });
  }

  #leftOf({ clients, exchanges, tunnels, buffered_bytes, upstreams_idle }) {
    const open = this.workers.reduce((sum, worker) => sum + worker.open.length, 0);
    const descriptors = this.lb.fds() - this.#fds - upstreams_idle;
    return { clients, exchanges, tunnels, buffered_bytes, unpooled: open - upstreams_idle, descriptors };
  }

  /* --- innocent clients --- */

  /** A POST, so that nothing is sent a second time in secret. */
  async #innocent(sid, at) {
    const nonce = this.#innocents++;
    const target = sid ? `${HANDSHAKE}&sid=${sid}&innocent=${nonce}` : `/innocent-${nonce}`;
    const client = await this.#connect(this.#play.t, this.lb);
    await client.send(post(target, `hello ${nonce}`));
    const { status, body } = await client.response();
    assert.equal(status, 200, "an innocent client is served");
    const own = new RegExp(`^innocent ${nonce} at ${at ?? ".*"} said hello ${nonce}$`);
    assert.match(body, own, "an innocent client gets its own answer");
    assert.equal(client.unread, "", "an innocent client gets no more than that");
    client.socket.destroy();
  }

  async #innocentAnywhere() {
    for (const worker of this.workers) Object.assign(worker, { held: [], holds: 1 });
    await this.#innocent();
  }

  /* One innocent client for each connection in the pool, all at once: none of them may be out of step. */
  async #assertUndamaged() {
    await this.#untilAllAreTried();
    const can_choose = this.sids || this.workers.length === 1;
    if (can_choose) await Promise.all(this.workers.map((worker) => this.#innocentsAt(worker)));
    else for (let n = 0; n < this.workers.length; n++) await this.#innocentAnywhere();
    const canaries = this.#parsed.filter((line) => line.includes("/canary-"));
    assert.deepEqual(canaries, [], "no worker takes a canary for a request");
  }

  /* A worker that has refused gets no newcomers for a while: the next row must find it as all others did. */
  async #untilAllAreTried() {
    for (const worker of this.workers.filter((one) => one.was_refusing)) {
      const tried = async () => {
        while (worker.open.length === 0) await this.#innocentAnywhere();
      };
      await within(WAIT_MS, `worker ${worker.id} to be tried again`, tried());
      worker.was_refusing = false;
    }
  }

  async #innocentsAt(worker) {
    const pooled = worker.open;
    Object.assign(worker, { held: [], holds: Math.max(1, pooled.length) });
    const sid = this.sids?.[worker.id][0];
    await Promise.all(Array.from({ length: worker.holds }, () => this.#innocent(sid, worker.id)));
    const used = new Set(worker.held.map((held) => held.connection));
    if (pooled.length > 0) assert.deepEqual(used, new Set(pooled), "every pooled connection serves one of them");
  }
}

/** Options: `workers` (their names), `ini` (more of siolb's sections), `sids` ({ name: [sid, ...] } to teach it first),
 * `connect(t, lb)` (how a client connects: rawClient). */
export async function wireStage(t, options) {
  const stage = new Stage(options);
  await stage.start(t, options);
  return stage;
}
