/*
 * fleet - real Socket.IO worker processes (test/fleet/worker.mjs) on ports that the kernel picks.
 *
 *   const workers = await fleet(t, 4, { cookie: true });               Socket.IO 4 with these options
 *   const workers = await fleet(t, 4, { version: 2 });
 *   const workers = await fleet(t, 4, { servers: [{ path: "/a/" }, { path: "/b/" }] });
 *
 * When the test is over no worker may have met a misroute or a message out of order, unless `checked: false`.
 */
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

import { defer, within } from "./defer.mjs";

const program = fileURLToPath(new URL("../../fleet/worker.mjs", import.meta.url));
const START_MS = 20_000;
const ANSWER_MS = 20_000;

class Worker {
  #child;
  #next = 0;
  #waiting = new Map();

  constructor(id, child) {
    this.id = id;
    this.#child = child;
    this.pid = child.pid;
    this.exit = once(child, "exit").then(([status, signal]) => ({ status, signal }));
    child.on("message", ({ number, answer, told }) => {
      if (told) this.onTold(told);
      this.#waiting.get(number)?.(answer);
      this.#waiting.delete(number);
    });
  }

  /** Called with {misroute, disorder or late: what, sid, at} when one happens. */
  onTold = () => {};

  async ready() {
    const ended = this.exit.then(() => Promise.reject(new Error(`worker ${this.id} ended before it listened`)));
    ended.catch(() => {});
    const [{ port }] = await within(START_MS, `worker ${this.id} to listen`, Promise.race([once(this.#child, "message"), ended]));
    this.port = port;
    this.address = `127.0.0.1:${port}`;
    this.url = `http://${this.address}`;
  }

  #ask(ask, ...args) {
    const number = this.#next++;
    const answer = new Promise((resolve) => this.#waiting.set(number, resolve));
    this.#child.send({ ask, args, number });
    return within(ANSWER_MS, `worker ${this.id} to answer ${ask}`, answer);
  }

  /** {misroutes, disorder, connections, disconnections, messages, requests, probes, late, notes} */
  counters() {
    return this.#ask("counters");
  }

  /** Emit to every socket of this worker. */
  emit(event, ...args) {
    return this.#ask("emit", event, ...args);
  }

  /** Engine.IO session ids that live here. */
  sids() {
    return this.#ask("sids");
  }

  /** Close every session. */
  forget() {
    return this.#ask("forget");
  }

  /** Only this process; SIGKILL: without a word, SIGTERM: with a goodbye to its sessions. */
  async kill(signal = "SIGKILL") {
    this.#child.kill(signal);
    await this.exit;
  }

  /** Freeze it; what comes waits in its kernel. */
  pause() {
    this.#child.kill("SIGSTOP");
  }

  resume() {
    this.#child.kill("SIGCONT");
  }

  get is_alive() {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async stop() {
    if (this.is_alive) await this.kill();
  }
}

export class Fleet extends Array {
  static get [Symbol.species]() {
    return Array;
  }

  /** A counter of worker.counters(), summed over the fleet. */
  async total(name) {
    const all = await Promise.all(this.filter((w) => w.is_alive).map((w) => w.counters()));
    return all.reduce((sum, counters) => sum + counters[name], 0);
  }

  /** Nothing went to a wrong worker and nothing was lost, repeated or out of order. */
  async assertClean() {
    const all = await Promise.all(this.filter((w) => w.is_alive).map((w) => w.counters()));
    const notes = all.flatMap((counters) => counters.notes);
    assert.deepEqual(notes.slice(0, 20), [], `${notes.length} messages or requests at a wrong worker or out of order`);
  }

  byId(id) {
    return this.find((worker) => worker.id === id);
  }
}

/** Start `count` workers. Options: `version` (4), `servers` (else one, of the other options), `port` (of a
 * single worker; 0), `checked` (true). */
export async function fleet(t, count, options = {}) {
  const { version = 4, port = 0, checked = true, ids = (n) => `w${n}`, servers: several, ...single } = options;
  const servers = several ?? [single];
  const workers = new Fleet();
  defer(t, async () => {
    try {
      if (checked) await workers.assertClean();
    } finally {
      await Promise.all(workers.map((worker) => worker.stop()));
    }
  });
  for (let n = 0; n < count; n++) {
    const child = fork(program, [JSON.stringify({ id: ids(n), version, port, servers })]);
    workers.push(new Worker(ids(n), child));
  }
  await Promise.all(workers.map((worker) => worker.ready()));
  return workers;
}
