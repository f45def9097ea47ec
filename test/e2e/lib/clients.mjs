/*
 * clients - real Socket.IO clients, 4.x and 2.x, that number what they say and insist on every answer once and in order.
 *
 *   const client = await connect(t, lb.url, { transports: ["polling"] });       { version: 2 } for socket.io-client 2
 *   client.worker            the id that its worker told
 *   await client.talk(100)   100 messages there and back
 *   await client.listen(100) 100 messages that the worker sends by itself
 */
import assert from "node:assert/strict";
import { createRequire } from "node:module";

import { io as io4 } from "socket.io-client";

import { defer, within } from "./defer.mjs";

const require = createRequire(import.meta.url);
const io2 = require("socket.io-client-2");

const CONNECT_MS = 30_000;
const TALK_MS = 50_000;

export const POLLING = { transports: ["polling"], upgrade: false };
export const UPGRADING = { transports: ["polling", "websocket"] };
export const WEBSOCKET = { transports: ["websocket"] };

/** A client has lost its connection, or never had one: `why` is Socket.IO's word for it, `fault` what its transport met. */
export class Disconnected extends Error {
  #client;

  constructor(client, why, more = "", options = {}) {
    super(`disconnected: ${why}${more}`, options);
    this.why = why;
    this.#client = client;
  }

  /* The client may hear of it after others. */
  get fault() {
    return this.#client.fault;
  }
}

/** What is behind an error of engine.io-client: the answer of a poll, { status, text }, or the error of the connection. */
export function faultOf(error, transport) {
  const { context, description, message } = error;
  const xhr = context ?? transport?.[message === "xhr post error" ? "sendXhr" : "pollXhr"]?.xhr;
  if (/^xhr /.test(message) && xhr) return xhr.status > 0 ? { status: xhr.status, text: xhr.responseText } : xhr.statusText;
  return description?.error ?? error;
}

/** An event of a client, or an error if the connection ends before. */
function eventOf(client, event, what) {
  const { socket } = client;
  return new Promise((resolve, reject) => {
    const ends = ["connect_error", "error", "disconnect"];
    const off = () => ends.forEach((name) => socket.off(name, fail));
    const fail = (why) => {
      off();
      const cause = why?.description ?? why?.context ?? why;
      reject(new Disconnected(client, why?.message ?? why, ` while waiting for ${what}`, { cause }));
    };
    ends.forEach((name) => socket.on(name, fail));
    socket.once(event, (...args) => {
      off();
      resolve(args);
    });
  });
}

class Client {
  #said = 0;

  constructor(socket) {
    this.socket = socket;
    this.fault = null;
    /* at once: a poll forgets its answer */
    this.engine?.on("error", (error) => (this.fault = faultOf(error, this.engine.transport)));
  }

  get engine() {
    return this.socket.io.engine;
  }

  /** Name of the transport right now: polling or websocket. */
  get transport() {
    return this.engine.transport.name;
  }

  /** The Engine.IO session id. */
  get sid() {
    return this.engine.id;
  }

  async connected() {
    const [worker] = await within(CONNECT_MS, "a client to connect", eventOf(this, "worker", "its worker's id"));
    this.worker = worker;
  }

  /** Ends when the websocket has taken over from polling. */
  upgraded() {
    if (this.transport === "websocket") return Promise.resolve();
    return within(CONNECT_MS, "the upgrade", new Promise((resolve) => this.engine.once("upgrade", resolve)));
  }

  /**
   * Say `count` messages at most `window` ahead of their echoes, which must come once each and in order. `until`: a
   * function that ends it early, once the last echo is there.
   */
  talk(count, { payload = "", window = 16, until = () => false } = {}) {
    const first = this.#said;
    let heard = first;
    let last = first + count;
    const talks = new Promise((resolve, reject) => {
      const end = (error) => {
        this.socket.off("said", onSaid);
        this.socket.off("disconnect", onDisconnect);
        if (error) reject(error);
        else resolve(heard - first);
      };
      const say = () => {
        if (until()) last = this.#said;
        while (this.#said < last && this.#said - heard < window) this.socket.emit("say", this.#said++, this.worker, payload);
        if (heard === last) end();
      };
      const onDisconnect = (why) => end(new Disconnected(this, why));
      const onSaid = (n, echo) => {
        if (n !== heard) return end(new Error(`echo ${n} where ${heard} was due`));
        try {
          assert.deepEqual(echo, payload);
        } catch (error) {
          return end(error);
        }
        heard++;
        say();
      };
      this.socket.on("disconnect", onDisconnect);
      this.socket.on("said", onSaid);
      say();
    });
    return within(TALK_MS, `${count} echoes`, talks);
  }

  /** Have the worker send `count` messages; each must come once and in order. */
  listen(count, payload = "") {
    let due = 0;
    const listens = new Promise((resolve, reject) => {
      const end = (error) => {
        this.socket.off("got", onGot);
        this.socket.off("disconnect", onDisconnect);
        if (error) reject(error);
        else resolve();
      };
      const onDisconnect = (why) => end(new Disconnected(this, why));
      const onGot = (n, got) => {
        if (n !== due) return end(new Error(`message ${n} where ${due} was due`));
        assert.deepEqual(got, payload);
        if (++due === count) end();
      };
      this.socket.on("disconnect", onDisconnect);
      this.socket.on("got", onGot);
      this.socket.emit("want", count, payload);
    });
    return within(TALK_MS, `${count} messages`, listens);
  }

  /** Emit with an acknowledgement; its arguments. */
  ask(event, ...args) {
    const answer = new Promise((resolve) => this.socket.emit(event, ...args, (...answers) => resolve(answers)));
    return within(TALK_MS, `the answer to ${event}`, answer);
  }

  /** Ends with the reason once the client has lost its connection. */
  disconnected() {
    return within(CONNECT_MS, "a disconnect", new Promise((resolve) => this.socket.once("disconnect", resolve)));
  }

  close() {
    this.socket.close();
  }
}

/** Connect and wait for the worker's id. Options are the client's own, and `version` (4 or 2). */
export async function connect(t, url, options = {}) {
  const { version = 4, ...own } = options;
  const io = version === 4 ? io4 : io2;
  const client = new Client(io(url, { forceNew: true, reconnection: false, timeout: CONNECT_MS, ...own }));
  defer(t, () => client.close());
  await client.connected();
  return client;
}

/** `count` clients at once. */
export function connectAll(t, url, count, options = {}) {
  return Promise.all(Array.from({ length: count }, () => connect(t, url, options)));
}
