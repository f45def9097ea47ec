/*
 * rig - two workers, siolb with faults, and clients whose every byte is known: whatever call failed, one can say
 * afterwards what each side was owed.
 *
 *   const rig = await faultRig(t);
 *   const seen = await rig.play(scenario);       "whole", or how it ended: "cut" (a connection ended), "reply" (503 ...)
 *   await rig.settle("send:3:EPIPE");            nobody got wrong bytes, nothing is left, others are served
 *
 * A scenario is `async (rig) => {}` and is made of rig.client(), rig.ask(), rig.tunnel() and the like; each of them stops
 * it (by a throw that play() catches) as soon as its client was not served to the end.
 */
import assert from "node:assert/strict";

import { faultySiolb } from "./faults.mjs";
import { openPacket } from "./http.mjs";
import { get, post, rawClient, response, scriptedWorker, SWITCH, UPGRADE } from "./scripted.mjs";
import { is_sanitized } from "./siolb.mjs";

const SETTLE_MS = 20_000;
const POLLS_IDLE = 40; /* two round trips of a signal, some ticks: a loop that spins makes thousands */
const OWN_REPLY = /^HTTP\/1\.1 (502|503|504) [^\r]*\r\n(?:[^\r]+\r\n)*\r\n(\{"code":[^}]*\}\n?)?$/;

class Interrupted extends Error {}

class Rig {
  #next = 0;
  #requests = new Map(); /* number: { text, answer, is_safe, arrivals, sent } */
  #peers = new Set();
  #wrong = [];
  #homes = {}; /* worker id: a sid that it minted */
  #base;
  #sessions_owed;

  constructor(t, lb, faults) {
    this.t = t;
    this.lb = lb;
    this.faults = faults;
  }

  /* --- workers --- */

  /** The script of worker `id`: takes requests that are exactly what a client said, and answers as that one is to be. */
  script(id) {
    return async (up) => {
      this.#peers.add(up);
      up.until("its end", () => up.end_seen, Infinity).then(() => up.socket.end());
      for (;;) {
        const head = await up.head(Infinity);
        const number = Number(/[?&]n=(\d+)/.exec(head)?.[1]);
        const request = this.#requests.get(number);
        if (!request?.text.startsWith(head)) {
          this.#wrong.push(`${id} got a head that nobody sent: ${JSON.stringify(head)}`);
          return;
        }
        const body = await up.read(request.text.length - head.length);
        if (head + body !== request.text) this.#wrong.push(`${id} got another body of request ${number}`);
        if (++request.arrivals > (request.is_safe ? 2 : 1)) this.#wrong.push(`request ${number} came ${request.arrivals} times`);
        if (request.home && request.home !== id) this.#wrong.push(`request ${number} of a session at ${request.home} came to ${id}: ${JSON.stringify(request.text.slice(0, 200))}`);
        await request.answer({ id, number, up, text: request.text, say: (...pieces) => this.#say(request, up, pieces), owes: (text) => request.sent.push(text) });
      }
    };
  }

  /* What is said is known before its first byte can arrive. */
  async #say(request, up, pieces) {
    request.sent.push(pieces.join(""));
    for (const piece of pieces) {
      await up.send(piece);
      if (piece !== pieces.at(-1)) await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  /* --- clients --- */

  async client() {
    const peer = await rawClient(this.t, this.lb);
    this.#peers.add(peer);
    return peer;
  }

  /** A request that one worker will know by its number, and what it does then. `home`: the one that must get it. */
  request(make, { answer = plainAnswer, home } = {}) {
    const number = this.#next++;
    const text = make(`n=${number}`);
    this.#requests.set(number, { text, answer, home, is_safe: text.startsWith("GET"), arrivals: 0, sent: [] });
    return { number, text };
  }

  /** Bytes to siolb; it may be gone. */
  async say(peer, text) {
    await peer.send(text).catch(() => {});
  }

  /** The answer to `request`, to the byte what a worker said. */
  async answer(peer, { number }) {
    const { sent } = this.#requests.get(number);
    let head = "";
    let body = "";
    try {
      head = await peer.head();
      const mine = sent.findLast((text) => text.startsWith(head));
      body = await peer.read(mine ? mine.length - head.length : Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0));
    } catch (error) {
      if (peer.end_seen === null) throw error;
      const { text } = await peer.rest();
      const is_cut = sent.concat("").some((whole) => whole.startsWith(head + text)) || /^HTTP\/1\.1 50[234] /.test(head + text);
      assert.ok(is_cut, `request ${number} was answered with ${JSON.stringify(head + text)}`);
      throw new Interrupted("cut", { cause: error });
    }
    if (sent.includes(head + body)) return body;
    assert.match(head + body, OWN_REPLY, `request ${number}`);
    throw new Interrupted("reply");
  }

  async ask(peer, make, options) {
    const request = this.request(make, options);
    await this.say(peer, request.text);
    return this.answer(peer, request);
  }

  /** GET `path`; its answer. */
  get(peer, path = "/plain", options) {
    return this.ask(peer, (n) => get(`${path}?${n}`), options);
  }

  /** GET or POST of a session. */
  poll(peer, sid, home, answer) {
    return this.ask(peer, (n) => get(`/socket.io/?EIO=4&transport=polling&sid=${sid}&${n}`), { home, answer });
  }

  post(peer, sid, home, body) {
    return this.ask(peer, (n) => post(`/socket.io/?EIO=4&transport=polling&sid=${sid}&${n}`, body), { home });
  }

  /** An Engine.IO handshake: {sid, home}. `answer` is openAnswer, or another one that gives the same packet. */
  async handshake(peer, answer = openAnswer, ...fields) {
    const minted = {};
    const remember = (asked) => answer(Object.assign(asked, { sid: (minted.sid = `${asked.id}-session-${asked.number}-of-rig`) }));
    await this.ask(peer, (n) => get(`/socket.io/?EIO=4&transport=polling&${n}`, ...fields), { answer: remember });
    return { sid: minted.sid, home: minted.sid.slice(0, 2) };
  }

  /** A websocket in which the client says `words` and the worker repeats each. `sid`: of a session. */
  async tunnel(peer, words, { sid, home } = {}) {
    const answer = async ({ up, say }) => {
      await say(SWITCH);
      for (const word of words) {
        const got = await up.read(word.length);
        if (got !== word) this.#wrong.push(`in a tunnel came ${JSON.stringify(got)}`);
        await up.send(word);
      }
    };
    await this.ask(peer, (n) => UPGRADE.replace("transport=websocket", `transport=websocket&${n}${sid ? `&sid=${sid}` : ""}`), { answer, home });
    for (const word of words) {
      await this.say(peer, word);
      await this.expect(peer, word);
    }
  }

  /** Exactly these bytes. */
  async expect(peer, text) {
    let got;
    try {
      got = await peer.read(text.length);
    } catch (error) {
      if (peer.end_seen === null) throw error;
      const rest = await peer.rest();
      assert.ok(text.startsWith(rest.text), `not ${JSON.stringify(rest.text)}`);
      throw new Interrupted("cut", { cause: error });
    }
    assert.equal(got, text);
  }

  /** siolb's own reply with `status`, and then the end. */
  async refused(peer, status) {
    const { text } = await peer.rest();
    const start = `HTTP/1.1 ${status} `;
    if (text.startsWith(start) && text.endsWith("}")) return;
    assert.ok(start.startsWith(text) || text.startsWith(start), JSON.stringify(text));
    throw new Interrupted("cut");
  }

  /** A sid that siolb knows and that this worker minted. */
  sidAt(home) {
    return this.#homes[home];
  }

  /* --- a case --- */

  /** Play a scenario as far as it goes. */
  async attempt(scenario) {
    try {
      await scenario(this);
      return "whole";
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
      return error.message;
    }
  }

  /** ... and afterwards all connections are closed, and siolb knows. */
  async play(scenario) {
    const seen = await this.attempt(scenario);
    this.hangUp();
    await this.lb.metrics();
    return seen;
  }

  hangUp() {
    for (const peer of this.#peers) peer.socket.destroy();
    this.#peers.clear();
  }

  /** Both workers have a session whose sid siolb knows. */
  async teach() {
    const client = await this.client();
    for (this.#homes = {}; Object.keys(this.#homes).length < 2; ) {
      const { sid, home } = await this.handshake(client);
      this.#homes[home] ??= sid;
    }
    this.hangUp();
    await this.lb.untilMetrics(isIdle);
  }

  /** What the state after each case has to be. */
  async begin() {
    await this.teach();
    this.#base = await this.#state();
  }

  async #state() {
    const metrics = await this.lb.metrics();
    const { blocks } = this.faults;
    return {
      idle: isIdle(metrics),
      descriptors: this.lb.fds(),
      blocks: is_sanitized ? 0 : blocks /* there LeakSanitizer counts, and nothing is pooled */,
      unknown: metrics.route_unknown_total /* a sid reaches its client when siolb knows it, or not at all */,
      sessions_owed: metrics.sessions - metrics.learned_plain_total + this.#sessionsClosed(),
    };
  }

  /* A session ends with its websocket. */
  #sessionsClosed() {
    return this.lb.log.filter((line) => line.event === "closed" && line.route === "known" && line.end.endsWith("/tunnel")).length;
  }

  /** After a case: the same process serves others and the sessions that it knows, nothing is left of what was, and
   * nothing spins. `keeps_sessions`: no worker refused a connection. */
  async settle(what, { keeps_sessions = true } = {}) {
    assert.ok(!this.lb.has_exited, `${what}: siolb is alive`);
    if (!keeps_sessions) await this.teach();
    const innocent = await this.client();
    await this.get(innocent, "/innocent");
    for (const [home, sid] of Object.entries(this.#homes)) await this.poll(innocent, sid, home);
    this.hangUp();
    const late = Date.now() + SETTLE_MS;
    let state = await this.#state();
    const base = { ...this.#base, sessions_owed: keeps_sessions ? this.#base.sessions_owed : state.sessions_owed };
    for (; Date.now() < late && JSON.stringify(state) !== JSON.stringify(base); state = await this.#state())
      await new Promise((resolve) => setTimeout(resolve, 10));
    assert.deepEqual(state, base, `${what}: nothing is left`);
    this.#base = base;
    assert.deepEqual(this.#wrong, [], what);
    const polls = this.faults.seen("epoll_wait");
    await this.lb.metrics();
    await this.lb.metrics();
    const more = this.faults.seen("epoll_wait") - polls;
    assert.ok(more <= POLLS_IDLE, `${what}: ${more} polls while nothing happens`);
    this.#requests.clear();
  }
}

function isIdle(m) {
  return m.clients + m.exchanges + m.tunnels + m.buffered_bytes + m.upstreams_idle === 0;
}

/** "w0 17 ...", so that no two answers are alike. */
export async function plainAnswer({ id, number, say }) {
  await say(response(`${id} ${number} ${"x".repeat(number % 100)}`));
}

export async function openAnswer({ sid, say }) {
  await say(response(openPacket(sid, { pingInterval: 600_000, pingTimeout: 60_000 })));
}

/** Workers w0 and w1, and siolb in front of them. Options are siolb's, and `fresh`: nothing has been asked yet, begin() is
 * the caller's. */
export async function faultRig(t, { fresh = false, ...options } = {}) {
  let rig;
  const script = (id) => (up) => rig.script(id)(up);
  const workers = [await scriptedWorker(t, { id: "w0", script: script("w0") }), await scriptedWorker(t, { id: "w1", script: script("w1") })];
  const { lb, faults } = await faultySiolb(t, { workers, timeouts: { head: "120s" }, ...options });
  rig = new Rig(t, lb, faults);
  if (!fresh) await rig.begin();
  return rig;
}
