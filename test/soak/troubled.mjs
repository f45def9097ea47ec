/*
 * troubled - a fleet of real workers that are killed, stopped, restarted and paused at random, each on its own port, and
 * what that excuses.
 *
 * A process is a *life*, "w2.7" the seventh of worker 2; its sids begin with that name. A request with a sid at a life that
 * did not mint it is a misroute, unless the life that did was gone by then, or had told the client so (400 code 1): after
 * that nobody can know whose it is.
 */
import { defer, part } from "../e2e/lib/defer.mjs";
import { fleet } from "../e2e/lib/fleet.mjs";

/* What a worker that was back a moment ago may still have done to a request. */
const AFTER_MS = 1_000;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

class Life {
  broken_at = Infinity; /* when its sessions first began to end, by death or by too long a pause */
  back_at = Infinity; /* when there was a working process behind its port again */

  breaks() {
    this.broken_at = Math.min(this.broken_at, Date.now());
    this.back_at = Infinity;
  }
}

export class TroubledFleet {
  slots = [];
  lives = new Map();
  counts = { kill: 0, stop: 0, pause: 0, "long pause": 0 };
  #told = [];
  #is_calm = false;
  #options;
  #next;

  constructor(next, options) {
    this.#next = next;
    this.#options = options;
  }

  /** Start the process of worker `n`, on the port that it has had. */
  async #begin(n) {
    const slot = this.slots[n];
    const id = `w${n}.${++slot.count}`;
    for (;;) {
      slot.part = part();
      try {
        [slot.worker] = await fleet(slot.part, 1, { ...this.#options, sids: "named", port: slot.port ?? 0, checked: false, ids: () => id });
        break;
      } catch (error) {
        await slot.part.end(); /* somebody's connection has that port just now */
        if (!/ended before/.test(error.message)) throw error;
        await pause(100);
      }
    }
    slot.worker.onTold = (told) => this.#told.push({ ...told, by: id });
    slot.port = slot.worker.port;
    slot.life = new Life();
    this.lives.set(id, slot.life);
  }

  async start(t, count) {
    defer(t, () => Promise.all(this.slots.map((slot) => slot.part.end())));
    for (let n = 0; n < count; n++) {
      this.slots.push({ count: 0 });
      await this.#begin(n);
    }
  }

  get workers() {
    return this.slots.map(({ worker }) => worker);
  }

  /** May what began at `from` at the life of that name, or at any life, have failed because of the trouble? */
  excuses(id, from) {
    const troubled = (life) => life.broken_at < Infinity && life.back_at + AFTER_MS >= from;
    const life = this.lives.get(id);
    return life ? troubled(life) : [...this.lives.values()].some(troubled);
  }

  async #trouble() {
    const next = this.#next;
    const n = next(this.slots.length);
    const slot = this.slots[n];
    if (slot.is_troubled || this.slots.filter((each) => each.is_troubled).length >= 2) return;
    slot.is_troubled = true;
    const { worker, life } = slot;
    const kind = ["kill", "kill", "kill", "stop", "stop", "pause", "pause", "long pause"][next(8)];
    this.counts[kind]++;
    if (kind === "pause") {
      worker.pause(); /* for less than any heartbeat: nobody has an excuse */
      await pause(200 + next(2_500));
      worker.resume();
    } else if (kind === "long pause") {
      life.breaks();
      worker.pause();
      await pause(12_000 + next(4_000));
      worker.resume();
      life.back_at = Date.now();
    } else {
      life.breaks();
      await worker.kill(kind === "kill" ? "SIGKILL" : "SIGTERM");
      await slot.part.end();
      await pause(next(3) * next(1_000));
      await this.#begin(n);
      life.back_at = Date.now();
    }
    slot.is_troubled = false;
  }

  /** Trouble until calm(): one after the other, two at a time at most. */
  async makeTrouble() {
    this.#is_calm = false;
    const under_way = new Set();
    while (!this.#is_calm) {
      const one = this.#trouble().finally(() => under_way.delete(one));
      under_way.add(one);
      await Promise.race([pause(300 + this.#next(1_700)), ...under_way].slice(0, 1));
    }
    await Promise.all(under_way);
  }

  calm() {
    this.#is_calm = true;
  }

  /** What no trouble explains: misroutes, disorder, and workers that ended by themselves. */
  faults() {
    const said_so = new Map();
    for (const { late, sid, at } of this.#told) if (late) said_so.set(sid, Math.min(at, said_so.get(sid) ?? Infinity));
    const is_fault = ({ misroute, disorder, sid, at }) => {
      if (disorder) return true;
      if (!misroute) return false;
      const owner = this.lives.get(sid?.split("~")[0]);
      return !owner || !(owner.broken_at <= at || said_so.get(sid) <= at);
    };
    const dead = this.workers.filter((worker) => !worker.is_alive).map(({ id }) => ({ dead: id }));
    return [...this.#told.filter(is_fault), ...dead];
  }

  /** Requests that came to a life that never minted their sid, and that trouble explains. */
  get explained() {
    return this.#told.filter(({ misroute }) => misroute).length - this.faults().length;
  }
}
