/*
 * http - plain HTTP, client and worker side: one request with all of its answer; workers inside the test's process.
 */
import { once } from "node:events";
import http from "node:http";

import { defer, within } from "./defer.mjs";

const ANSWER_MS = 30_000;

/**
 * Keeps quiet about reuse: when a reused connection ends, the XMLHttpRequest of engine.io-client 6 would for ever open new
 * ones and say nothing on them (it forgets to end the request that it makes again).
 */
export class KeepAliveAgent extends http.Agent {
  constructor(options) {
    super({ keepAlive: true, ...options });
  }

  reuseSocket(socket, req) {
    super.reuseSocket(socket, req);
    req.reusedSocket = false;
  }

  /** Also of what is opened later, for a client's goodbye: it ends with its answer. */
  destroy() {
    this.keepAlive = false;
    super.destroy();
  }
}

/** A keep-alive agent with at most `sockets` connections, closed when the test is over. */
export function agent(t, sockets = Infinity) {
  const made = new KeepAliveAgent({ maxSockets: sockets, maxFreeSockets: 256 });
  defer(t, () => made.destroy());
  return made;
}

/**
 * One request: {status, headers, body, text}; rejects when the connection ends before the answer is whole. Options are
 * those of http.request and `body`.
 */
export function request(url, { body, ...options } = {}) {
  const answer = new Promise((resolve, reject) => {
    const req = http.request(url, options, (res) => {
      const chunks = [];
      res.on("data", (chunk) => chunks.push(chunk));
      res.on("error", reject);
      res.on("end", () => {
        const bytes = Buffer.concat(chunks);
        resolve({ status: res.statusCode, headers: res.headers, body: bytes, text: bytes.toString() });
      });
    });
    req.on("error", reject);
    req.end(body);
  });
  return within(ANSWER_MS, `${options.method ?? "GET"} ${url}`, answer);
}

/** An answer that is not the one that was asked for. */
export class Refused extends Error {
  constructor({ status, text }) {
    super(`answered with ${status}: ${text.slice(0, 200)}`);
    this.status = status;
    this.text = text;
  }
}

/** A connection or a session that ended where more was due, with nothing wrong before; `cause`: what was seen of it. */
export class Lost extends Error {}

/** An answer of request(), or Refused when its status is not 200. */
export function ok(answer) {
  if (answer.status !== 200) throw new Refused(answer);
  return answer;
}

/** `count` in order, one after the other. */
export async function requestEach(count, make) {
  const answers = [];
  for (let n = 0; n < count; n++) answers.push(await make(n));
  return answers;
}

/** An Engine.IO 4 open packet as a polling body. */
export function openPacket(sid, more = {}) {
  return `0${JSON.stringify({ sid, upgrades: [], pingInterval: 25000, pingTimeout: 20000, maxPayload: 1e6, ...more })}`;
}

/** How often each worker answered: { w0: 10, w1: 10 }; `answers` carry the worker's id in the header x-worker. */
export function tally(answers) {
  const counts = {};
  for (const { headers } of answers) counts[headers["x-worker"]] = (counts[headers["x-worker"]] ?? 0) + 1;
  return counts;
}

/**
 * `count` plain HTTP workers: `answer(req, res, worker)`; without it every request is answered with the worker's id,
 * and one without a sid for /socket.io/ with an open packet. Every answer has the header x-worker.
 */
export async function webWorkers(t, count, answer) {
  let sessions = 0;
  const standard = (req, res, worker) => {
    const is_handshake = req.url.startsWith("/socket.io/?") && !/[?&]sid=/.test(req.url);
    res.end(is_handshake ? openPacket(`${worker.id}-session-${sessions++}-of-test`) : worker.id);
  };
  const workers = [];
  for (let n = 0; n < count; n++) {
    const worker = { id: `w${n}`, requests: [] };
    const server = http.createServer((req, res) => {
      worker.requests.push(req);
      res.setHeader("x-worker", worker.id);
      (answer ?? standard)(req, res, worker);
    });
    const close = async () => {
      if (!server.listening) return;
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    };
    defer(t, close);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address();
    workers.push(Object.assign(worker, { close, server, port, address: `127.0.0.1:${port}` }));
  }
  return workers;
}
