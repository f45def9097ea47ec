/*
 * Every kind of client comes and goes for SOAK_S seconds (1200) while workers are killed, stopped and paused and peers
 * vanish at random. Nobody whose worker was well may notice, and nobody at all gets a wrong byte; no request meets a wrong
 * worker; afterwards siolb is as empty and as small as before. The seed is printed first; SOAK_SEED repeats it.
 *
 *   SOAK_S=120 scripts/run-e2e test/soak/soak.test.mjs         with E2E_TIMEOUT_S well above (`make soak` does that)
 */
import assert from "node:assert/strict";
import test from "node:test";

import { Disconnected } from "../e2e/lib/clients.mjs";
import { defer, part, within } from "../e2e/lib/defer.mjs";
import { KeepAliveAgent, Lost, Refused } from "../e2e/lib/http.mjs";
import { seeded } from "../e2e/lib/random.mjs";
import { is_sanitized, siolb } from "../e2e/lib/siolb.mjs";
import { isLoss } from "./excuses.mjs";
import { kinds } from "./kinds.mjs";
import { TroubledFleet } from "./troubled.mjs";

const SOAK_MS = (Number(process.env.SOAK_S) || 1200) * 1000;
const WARM_UP_MS = Math.min(60_000, SOAK_MS / 2); /* as much trouble as later: what grows once has grown */
const WORKERS = 6;
const NAMES = Object.keys(kinds);
const CLIENTS = 4 * NAMES.length;
const LIFE_MS = 180_000; /* a safety net */
const REST_MS = 180_000;
const GROWTH_MAX = 2 << 20;
const LOG_LINES_MAX = 5_000;
const PINGS = { pingInterval: 1_000, pingTimeout: 8_000 }; /* sessions end 19 s after their last request */

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const say = (text) => console.log(`soak: ${text}`);

/** Clients one after the other, of the kinds in turn, until it is over. What has no excuse goes into `failed`. */
async function churn(all, seed, ms) {
  const ends_at = Date.now() + ms;
  const shared = new KeepAliveAgent({ maxSockets: 32 });
  const live = async (number) => {
    const next = seeded(seed * 1_000 + number);
    for (let life = number; Date.now() < ends_at; life++) {
      await oneLife(all, NAMES[life % NAMES.length], next, shared);
      await pause(next(100));
    }
  };
  const trouble = all.fleet.makeTrouble();
  await Promise.all(Array.from({ length: CLIENTS }, (_, number) => live(number)));
  all.fleet.calm();
  await trouble;
  shared.destroy();
}

/** One of each kind while all is well: nobody has an excuse. */
async function calmDay(all, seed) {
  const shared = new KeepAliveAgent();
  for (const name of NAMES) await oneLife({ ...all, fleet: { excuses: () => false } }, name, seeded(seed), shared);
  shared.destroy();
}

async function oneLife({ fleet, lb, failed, counts }, name, next, shared) {
  const from = Date.now();
  const own = part();
  let worker;
  const knows = (id) => (worker = id);
  try {
    await within(LIFE_MS, `a life (${name})`, kinds[name]({ part: own, lb, next, shared, knows }));
    counts.lived++;
  } catch (error) {
    counts.cut++;
    /* whatever happens to a worker, its clients are told, and what they are told is right */
    if (!isLoss(error) || !fleet.excuses(worker, from)) failed.push(`${name}, worker ${worker}, after ${Date.now() - from} ms: ${error.stack}`);
  } finally {
    await own.end();
  }
}

test("trouble excuses a lost connection and an honest refusal, never a wrong byte, a wrong order or a long wait", async () => {
  const lost = (why, fault) => new Disconnected({ fault }, why);
  const coded = (code, message = code) => Object.assign(new Error(message), { code });
  const gone = '{"code":1,"message":"Session ID unknown"}';
  const none = '{"code":1,"message":"no worker"}';
  const excused = [
    coded("ECONNRESET"),
    lost("transport close"),
    lost("ping timeout"),
    lost("transport error", { status: 400, text: gone }),
    lost("transport error", coded("ECONNRESET")),
    lost("websocket error", new Error("Unexpected server response: 503")),
    new Refused({ status: 400, text: gone }),
    new Refused({ status: 504, text: none }),
    new Lost("cut"),
    new Lost("cut", { cause: coded("EPIPE") }),
  ];
  const wrong = new assert.AssertionError({ actual: "some", expected: "other", operator: "strictEqual" });
  const never = [
    wrong,
    new Error("echo 3 where 2 was due"),
    new Error("still waiting for 3 echoes after 50000 ms"),
    new Lost("cut", { cause: new RangeError("Invalid WebSocket frame: RSV1 must be clear") }),
    new Refused({ status: 400, text: '{"code":3,"message":"Bad request"}' }),
    new Refused({ status: 500, text: none }),
    new Refused({ status: 502, text: "other words" }),
    new SyntaxError("Unexpected token"),
    coded("HPE_INVALID_CONSTANT"),
    coded("Z_DATA_ERROR"),
    coded("ECONNREFUSED"),
    lost("parse error"),
    lost("timeout"),
    lost("transport error", new Error("server error")),
    lost("transport error", { status: 400, text: "" }),
    lost("websocket error", new Error("Unexpected server response: 400")),
  ];
  for (const error of excused) assert.ok(isLoss(error), `${error.message} is excused`);
  for (const error of never) assert.ok(!isLoss(error), `${error.message} is not`);
});

/** Everyone has left: siolb comes to rest, sessions included. */
async function rest(lb) {
  const is_at_rest = (m) => m.clients + m.exchanges + m.tunnels + m.sessions + m.upstreams_idle + m.buffered_bytes === 0;
  let metrics;
  const comes = async () => {
    while (!is_at_rest((metrics = await lb.metrics()))) await pause(500);
  };
  await within(REST_MS, "siolb to come to rest", comes()).catch((error) => {
    throw new Error(`${error.message}: ${JSON.stringify(metrics)}`);
  });
  return { fds: lb.fds(), rss: lb.rss(), metrics };
}

/** Twenty minutes of log lines would be most of this process. */
function keepShort(lb, odd) {
  const surplus = lb.log.length - LOG_LINES_MAX;
  if (surplus <= 0) return;
  for (const line of lb.log.splice(0, surplus)) if (line.event === undefined) odd.push(line.text);
}

test(`${SOAK_MS / 1000} s of every kind of client and trouble: no misroute, and nothing is left behind`, { timeout: Infinity }, async (t) => {
  const seed = Number(process.env.SOAK_SEED) || Date.now() % 1_000_000;
  say(`SOAK_SEED=${seed}`);
  const fleet = new TroubledFleet(seeded(seed), { allowEIO3: true, httpCompression: { threshold: 0 }, ...PINGS });
  await fleet.start(t, WORKERS);
  const lb = await siolb(t, { workers: fleet.workers, sticky: { sessions: 16384 } });
  const fds = lb.fds();
  const all = { fleet, lb, failed: [], counts: { lived: 0, cut: 0 } };
  const { failed, counts } = all;
  const odd = [];
  const from = Date.now();
  const report = setInterval(() => {
    keepShort(lb, odd);
    const passed = Math.round((Date.now() - from) / 1000);
    say(`${passed} s: ${counts.lived} lives, ${counts.cut} cut short, ${failed.length} of them without excuse, ${JSON.stringify(fleet.counts)}, ${lb.rss() >> 10} KiB, ${lb.fds()} descriptors`);
  }, 10_000);
  defer(t, () => clearInterval(report));

  await churn(all, seed, WARM_UP_MS);
  const before = await rest(lb);
  say(`at rest after the warm-up: ${before.rss >> 10} KiB`);
  await churn(all, seed + 1, SOAK_MS - WARM_UP_MS);
  await calmDay(all, seed);
  const after = await rest(lb);
  say(`at rest at the end: ${after.rss >> 10} KiB, ${fleet.explained} requests came to a worker in place of a dead one`);

  assert.deepEqual(fleet.faults(), [], "misroutes, disorder, dead workers");
  assert.deepEqual(failed.slice(0, 10), [], `${failed.length} clients failed though their worker was well`);
  assert.deepEqual(odd, [], "siolb writes log lines and nothing else");
  assert.deepEqual([before.fds, after.fds], [fds, fds], "no descriptor is lost");
  if (!is_sanitized) assert.ok(after.rss - before.rss <= GROWTH_MAX, `grew by ${after.rss - before.rss} bytes`);
  assert.equal(after.metrics.sids_evicted_total + after.metrics.sid_collisions_total, 0);
  assert.ok(counts.lived > SOAK_MS / 1000 && fleet.counts.kill > 0, "there was life and trouble");
});
