/* Where newcomers go: the five policies, with and without weights. */
import assert from "node:assert/strict";
import test from "node:test";

import { connectAll, WEBSOCKET } from "./lib/clients.mjs";
import { fleet } from "./lib/fleet.mjs";
import { agent, request, requestEach, tally, webWorkers } from "./lib/http.mjs";
import { siolb } from "./lib/siolb.mjs";

const HANDSHAKE = "/socket.io/?EIO=4&transport=polling";

/** Each worker with its weight, as the text of `worker =`. */
function weighted(workers, weights) {
  return workers.map((worker, n) => `${worker.address} weight=${weights[n]}`);
}

/** `count` handshakes, each a session that lives on: how many every worker got. */
async function handshakes(t, lb, count) {
  const kept = agent(t, 1);
  return tally(await requestEach(count, () => request(`${lb.url}${HANDSHAKE}`, { agent: kept })));
}

/** A plain request from each of `count` loopback addresses: the worker of each, by address. */
async function workersOfAddresses(lb, count) {
  const answers = await requestEach(count, (n) => request(lb.url, { localAddress: `127.0.1.${n + 1}`, agent: false }));
  return answers.map((answer) => answer.headers["x-worker"]);
}

test("least: sessions spread evenly, one after the other and all at once", async (t) => {
  const workers = await webWorkers(t, 4);
  const lb = await siolb(t, { workers, proxy: { balance: "least" } });
  assert.deepEqual(await handshakes(t, lb, 20), { w0: 5, w1: 5, w2: 5, w3: 5 });
  const kept = agent(t, 20);
  const at_once = Array.from({ length: 20 }, () => request(`${lb.url}${HANDSHAKE}`, { agent: kept }));
  assert.deepEqual(tally(await Promise.all(at_once)), { w0: 5, w1: 5, w2: 5, w3: 5 });
  assert.equal(await lb.metric("sessions"), 40);
});

test("least: a worker of weight 3 gets three times the sessions of one of weight 1", async (t) => {
  const workers = await webWorkers(t, 2);
  const lb = await siolb(t, { workers: weighted(workers, [3, 1]), proxy: { balance: "least" } });
  assert.deepEqual(await handshakes(t, lb, 40), { w0: 30, w1: 10 });
});

test("least: newcomers fill up the worker whose websockets have gone", async (t) => {
  const workers = await fleet(t, 4);
  const lb = await siolb(t, { workers, proxy: { balance: "least" } });
  const clients = await connectAll(t, lb.url, 8, WEBSOCKET);
  const leaving = clients.filter((client) => client.worker === "w2");
  assert.equal(leaving.length, 2);
  leaving.forEach((client) => client.close());
  await lb.untilMetrics((m) => m.sessions === 6);
  const newcomers = await connectAll(t, lb.url, 2, WEBSOCKET);
  assert.deepEqual(newcomers.map((client) => client.worker), ["w2", "w2"]);
});

test("round-robin: workers take turns", async (t) => {
  const workers = await webWorkers(t, 3);
  const lb = await siolb(t, { workers, proxy: { balance: "round-robin" } });
  const kept = agent(t, 1);
  const answers = await requestEach(9, () => request(lb.url, { agent: kept }));
  const order = answers.map((answer) => answer.headers["x-worker"]);
  assert.equal(new Set(order.slice(0, 3)).size, 3);
  assert.deepEqual(order.slice(3, 6), order.slice(0, 3));
  assert.deepEqual(order.slice(6, 9), order.slice(0, 3));
});

test("round-robin: turns follow the weights exactly", async (t) => {
  const workers = await webWorkers(t, 3);
  const lb = await siolb(t, { workers: weighted(workers, [3, 2, 1]), proxy: { balance: "round-robin" } });
  const kept = agent(t, 1);
  const counts = tally(await requestEach(60, () => request(lb.url, { agent: kept })));
  assert.deepEqual(counts, { w0: 30, w1: 20, w2: 10 });
});

test("random: every worker gets its share, by weight", async (t) => {
  const workers = await webWorkers(t, 2);
  const even = await siolb(t, { workers, proxy: { balance: "random" } });
  const uneven = await siolb(t, { workers: weighted(workers, [3, 1]), proxy: { balance: "random" } });
  const kept = agent(t, 1);
  /* 400 draws: bounds are six standard deviations away. */
  const fair = tally(await requestEach(400, () => request(even.url, { agent: kept })));
  assert.ok(Math.abs(fair.w0 - 200) <= 60, `${fair.w0} of 400 where 200 are due`);
  const unfair = tally(await requestEach(400, () => request(uneven.url, { agent: kept })));
  assert.ok(Math.abs(unfair.w0 - 300) <= 52, `${unfair.w0} of 400 where 300 are due`);
});

test("p2c: of two workers drawn the one with fewer sessions, by weight", async (t) => {
  const workers = await webWorkers(t, 4);
  const pair = workers.slice(0, 2);
  const kept = agent(t, 1);

  /* Where there are two workers only, both are drawn each time: the sessions never differ by more than one. */
  const two = await siolb(t, { workers: pair, proxy: { balance: "p2c" } });
  const order = await requestEach(40, () => request(`${two.url}${HANDSHAKE}`, { agent: kept }));
  for (let n = 2; n <= 40; n += 2) assert.deepEqual(tally(order.slice(0, n)), { w0: n / 2, w1: n / 2 });

  const uneven = await siolb(t, { workers: weighted(pair, [3, 1]), proxy: { balance: "p2c" } });
  assert.deepEqual(await handshakes(t, uneven, 40), { w0: 30, w1: 10 });

  const four = await siolb(t, { workers, proxy: { balance: "p2c" } });
  const counts = Object.values(await handshakes(t, four, 200));
  assert.equal(counts.length, 4);
  assert.ok(Math.max(...counts) - Math.min(...counts) <= 8, `sessions ${counts} stay close together`);
});

test("source: a client address keeps its worker, in every siolb, and a worker's end moves only its own", async (t) => {
  const workers = await webWorkers(t, 4);
  const options = { workers, proxy: { balance: "source" } };
  const lb = await siolb(t, options);
  const before = await workersOfAddresses(lb, 60);
  assert.equal(new Set(before).size, 4, "60 addresses reach all workers");
  assert.deepEqual(await workersOfAddresses(lb, 60), before);
  assert.deepEqual(await workersOfAddresses(await siolb(t, options), 60), before);

  await workers[1].close();
  const after = await workersOfAddresses(lb, 60);
  before.forEach((worker, n) => {
    if (worker === "w1") assert.notEqual(after[n], "w1");
    else assert.equal(after[n], worker);
  });
});

test("source: weights are honoured", async (t) => {
  const workers = await webWorkers(t, 2);
  const lb = await siolb(t, { workers: weighted(workers, [3, 1]), proxy: { balance: "source" } });
  const heavy = (await workersOfAddresses(lb, 200)).filter((worker) => worker === "w0").length;
  assert.ok(Math.abs(heavy - 150) <= 37, `${heavy} of 200 where 150 are due`); /* six standard deviations */
});
