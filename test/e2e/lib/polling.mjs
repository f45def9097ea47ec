/*
 * polling - an Engine.IO polling client made of plain requests, for what the real clients cannot do under Node: JSONP
 * (it needs a document) and compressed answers (they send no Accept-Encoding).
 *
 *   const client = await poll(t, lb.url, { eio: 3, jsonp: true, coding: "gzip" });
 *   client.worker  client.sid  await client.talk(20)
 */
import assert from "node:assert/strict";
import { gunzipSync, inflateSync } from "node:zlib";

import { agent, Lost, ok, request } from "./http.mjs";

const SEPARATOR = "\x1e";
const decoders = { gzip: gunzipSync, deflate: inflateSync };
let next_jsonp = 0;

/** EIO 3 text framing: the length counts UTF-16 code units, as JavaScript does. */
function packetsOfText(payload) {
  const packets = [];
  for (let at = 0; at < payload.length; ) {
    const colon = payload.indexOf(":", at);
    const length = Number(payload.slice(at, colon));
    packets.push(payload.slice(colon + 1, colon + 1 + length));
    at = colon + 1 + length;
  }
  return packets;
}

class PollingClient {
  #url;
  #options;
  #said = 0;
  #packets = [];

  constructor(url, options) {
    this.#url = url;
    this.#options = options;
    if (options.jsonp) this.#options.j = next_jsonp++;
  }

  #target() {
    const { eio, j, path, query = "" } = this.#options;
    const sid = this.sid ? `&sid=${encodeURIComponent(this.sid)}` : "";
    return `${this.#url}${path}?EIO=${eio}&transport=polling${j === undefined ? "" : `&j=${j}`}${query}${sid}`;
  }

  #payloadOf(text) {
    const { jsonp, j } = this.#options;
    if (!jsonp) return text;
    const [, number, literal] = /^___eio\[(\d+)\]\((".*")\);$/s.exec(text) ?? assert.fail(`no JSONP: ${text}`);
    assert.equal(Number(number), j);
    return JSON.parse(literal);
  }

  async #get() {
    const { coding, headers, agent: own } = this.#options;
    const accepts = coding ? { "Accept-Encoding": coding } : {};
    const answer = ok(await request(this.#target(), { agent: own, headers: { ...headers, ...accepts } }));
    assert.equal(answer.headers["content-encoding"], coding);
    const text = coding ? decoders[coding](answer.body).toString() : answer.text;
    const payload = this.#payloadOf(text);
    this.#packets.push(...(this.#options.eio === 4 ? payload.split(SEPARATOR) : packetsOfText(payload)));
    return answer;
  }

  async #post(packets) {
    const { eio, jsonp, headers, agent: own } = this.#options;
    const payload = eio === 4 ? packets.join(SEPARATOR) : packets.map((p) => `${p.length}:${p}`).join("");
    const body = jsonp ? `d=${encodeURIComponent(payload)}` : payload;
    const type = jsonp ? "application/x-www-form-urlencoded" : "text/plain;charset=UTF-8";
    const answer = await request(this.#target(), {
      method: "POST",
      agent: own,
      headers: { ...headers, "Content-Type": type, "Content-Length": Buffer.byteLength(body) },
      body,
    });
    ok(answer);
  }

  /** The arguments of the next Socket.IO event; heartbeats are answered on the way. */
  async #event() {
    for (;;) {
      const packet = this.#packets.shift();
      if (packet === undefined) await this.#get();
      else if (packet === "2") await this.#post(["3"]);
      else if (packet.startsWith("42")) return JSON.parse(packet.slice(2));
      else if (packet === "1" || packet === "41") throw new Lost("the worker has closed the session");
      else assert.ok(packet === "6" || packet.startsWith("40"), `unexpected packet ${packet}`);
    }
  }

  async open() {
    this.handshake = await this.#get();
    const packet = this.#packets.shift();
    assert.equal(packet[0], "0", "an open packet comes first");
    this.sid = JSON.parse(packet.slice(1)).sid;
    if (this.#options.eio === 4) await this.#post(["40"]);
    const [event, id] = await this.#event();
    assert.equal(event, "worker");
    this.worker = id;
  }

  /** Say `count` messages one by one and hear each echo. */
  async talk(count, payload = "") {
    for (let n = 0; n < count; n++) {
      const number = this.#said++;
      await this.#post([`42${JSON.stringify(["say", number, this.worker, payload])}`]);
      assert.deepEqual(await this.#event(), ["said", number, payload]);
    }
  }

  close() {
    return this.#post(["1"]);
  }
}

/** Open a session. Options: `eio` (4), `jsonp`, `coding` (gzip, deflate), `path`, `query`, `headers`, `agent`. */
export async function poll(t, url, options = {}) {
  const client = new PollingClient(url, { eio: 4, path: "/socket.io/", agent: agent(t), ...options });
  await client.open();
  return client;
}
