/*
 * ordinary - polite clients beside the rude ones, served from the first moment to the last, and the worker of both.
 *
 *   const worker = await ordinaryWorker(t, { answer: (req, res) => ..., upgrade: (up, req) => ... });
 *   const lb = await siolb(t, { workers: [worker] });
 *   const ordinary = await ordinaryClients(t, lb);
 *   await ordinary.served(20);         each of them gets 20 more answers
 *
 * Three clients run until the test is over: a Socket.IO client on a websocket, one that polls, and plain requests, each on
 * a connection of its own. One answer that fails, is late or is wrong fails the test.
 */
import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import http from "node:http";

import { Server } from "socket.io";

import { connect, POLLING, WEBSOCKET } from "./clients.mjs";
import { defer, within } from "./defer.mjs";
import { agent, request, webWorkers } from "./http.mjs";
import { Peer } from "./scripted.mjs";

const PAUSE_MS = 10; /* they are polite */
const SERVED_MS = 60_000;
const PATH = "/ordinary";
const ID = "ordinary";

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function serve(socket) {
  socket.emit("worker", ID);
  socket.on("say", (n, owner, payload) => socket.emit("said", n, payload));
}

/**
 * A Socket.IO worker in the test's process. What is not for the ordinary clients goes to `answer(req, res)` and, with
 * Upgrade, as a Peer to `upgrade(up, req)`. `strangers` are the targets of those requests; `noise` counts connections
 * that brought something else than HTTP.
 */
export async function ordinaryWorker(t, { answer = (req, res) => res.end(), upgrade } = {}) {
  const strangers = [];
  const [worker] = await webWorkers(t, 1, (req, res) => {
    if (req.url === PATH) return res.end(PATH);
    strangers.push(req.url);
    return answer(req, res);
  });
  Object.assign(worker, { strangers, noise: 0 });
  worker.server.on("clientError", (error, socket) => {
    if (error.code?.startsWith("HPE_")) worker.noise++;
    socket.destroy();
  });
  new Server(worker.server, { serveClient: false, destroyUpgrade: false }).on("connection", serve);
  worker.server.on("upgrade", (req, socket) => {
    if (req.url.startsWith("/socket.io/")) return;
    strangers.push(req.url);
    upgrade(new Peer(t, socket, "worker"), req);
  });
  return worker;
}

class Ordinary {
  #answers = 0;
  #failed = null;
  #stopped = false;
  #news = new EventEmitter();

  constructor(name, ask) {
    this.name = name;
    this.ran = this.#run(ask);
  }

  async #run(ask) {
    try {
      while (!this.#stopped) {
        await ask();
        this.#answers++;
        this.#news.emit("news");
        await pause(PAUSE_MS);
      }
    } catch (error) {
      this.#failed = new Error(`ordinary client (${this.name}), after ${this.#answers} answers: ${error.message}`, { cause: error });
      this.#news.emit("news");
    }
  }

  async served(count) {
    const until = this.#answers + count;
    const serves = async () => {
      while (!this.#failed && this.#answers < until) await once(this.#news, "news");
    };
    await within(SERVED_MS, `${count} answers for the ordinary client (${this.name})`, serves());
    if (this.#failed) throw this.#failed;
  }

  async stop() {
    this.#stopped = true;
    await this.ran;
    if (this.#failed) throw this.#failed;
    assert.ok(this.#answers > 0, `the ordinary client (${this.name}) was served at all`);
  }
}

/**
 * `newcomers: false`: none that needs a new connection, where the test is about there being no room for one. `keeps: false`:
 * none that keeps a connection between two requests, where siolb may close it just when the next one is on its way.
 */
export async function ordinaryClients(t, lb, { newcomers = true, keeps = true } = {}) {
  const websocket = await connect(t, lb.url, WEBSOCKET);
  const polling = await connect(t, lb.url, { ...POLLING, agent: keeps ? agent(t, 2) : new http.Agent() });
  const clients = [new Ordinary("websocket", () => websocket.talk(1)), new Ordinary("polling", () => polling.talk(1))];
  const plain = async () => {
    const { status, text } = await request(lb.url + PATH, { agent: false });
    assert.deepEqual([status, text], [200, PATH]);
  };
  if (newcomers) clients.push(new Ordinary("plain", plain));
  defer(t, () => Promise.all(clients.map((client) => client.stop())));
  const served = (count) => Promise.all(clients.map((client) => client.served(count)));
  await served(1);
  return { served, connections: 3 }; /* at most, beside newcomers: a tunnel, and two to poll */
}
