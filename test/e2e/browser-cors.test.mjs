/*
 * What a page of another origin sees of siolb, in Chromium: what workers granted it may read, of siolb's own replies too;
 * what no worker granted stays closed. And a real Socket.IO client lives there, preflights and all.
 */
import assert from "node:assert/strict";
import test from "node:test";

import { browserContext, openPage, pageServer } from "./lib/browser.mjs";
import { fleet } from "./lib/fleet.mjs";
import { openPacket, webWorkers } from "./lib/http.mjs";
import { HANDSHAKE } from "./lib/scripted.mjs";
import { siolb } from "./lib/siolb.mjs";

const BLOCKED = "blocked"; /* what a page learns of an answer that it may not read: nothing */

/** How siolb is called by pages: another site than theirs, for cookies too. */
const urlOf = (lb, target = HANDSHAKE) => `http://localhost:${lb.port}${target}`;

/** By fetch and by XMLHttpRequest, which must agree: {status, text} or "blocked". */
async function ask(page, url, { credentials = true, method = "GET", body, headers = {} } = {}) {
  const [by_fetch, by_xhr] = await page.evaluate(
    async ({ url, credentials, method, body, headers, BLOCKED }) => {
      const answer = await fetch(url, { method, body, headers, credentials: credentials ? "include" : "omit" }).then(
        async (response) => ({ status: response.status, text: await response.text() }),
        () => BLOCKED,
      );
      const xhr = new XMLHttpRequest();
      const ended = new Promise((resolve) => (xhr.onloadend = resolve));
      xhr.open(method, url);
      xhr.withCredentials = credentials;
      for (const [name, value] of Object.entries(headers)) xhr.setRequestHeader(name, value);
      xhr.send(body);
      await ended;
      return [answer, xhr.status ? { status: xhr.status, text: xhr.responseText } : BLOCKED];
    },
    { url, credentials, method, body, headers, BLOCKED },
  );
  assert.equal(by_fetch === BLOCKED, by_xhr === BLOCKED, "fetch and XMLHttpRequest agree");
  if (by_fetch !== BLOCKED) assert.equal(by_fetch.status, by_xhr.status);
  return by_fetch;
}

async function assertReads(page, url, status, code, options) {
  const answer = await ask(page, url, options);
  assert.equal(answer.status, status, JSON.stringify(answer));
  assert.equal(JSON.parse(answer.text).code, code);
}

/** Blocked by the browser for want of a grant, and not because nothing answered. */
async function assertBlocked(page, url, options) {
  const before = page.faults.length;
  assert.equal(await ask(page, url, options), BLOCKED);
  const faults = page.faults.slice(before).filter((text) => text.includes("CORS policy"));
  assert.equal(faults.length, 2, `two answers are kept from the page: ${JSON.stringify(page.faults)}`);
}

async function handshake(page, url, options) {
  const answer = await ask(page, url, options);
  assert.equal(answer.status, 200, JSON.stringify(answer));
  return JSON.parse(answer.text.slice(1)).sid;
}

/** A page that the workers' `cors` lets in, and one of an origin that they don't know. */
async function friendAndStranger(t) {
  const tabs = await browserContext(t);
  const origins = [await pageServer(t), await pageServer(t)];
  const [friend, stranger] = await Promise.all(origins.map((origin) => openPage(tabs, origin)));
  return { friend, stranger, cors: { origin: [origins[0]], credentials: true } };
}

test("a page reads 400 code 1 for its session and 503 when its workers are gone; an origin without a grant reads neither", async (t) => {
  const { friend, stranger, cors } = await friendAndStranger(t);
  const [worker] = await fleet(t, 1, { cors });
  const lb = await siolb(t, { workers: [worker] });
  const sids = [await handshake(friend, urlOf(lb)), await handshake(friend, urlOf(lb))];
  await assertBlocked(stranger, urlOf(lb));
  await worker.kill();

  const poll = (sid) => urlOf(lb, `${HANDSHAKE}&sid=${sid}`);
  const { status, text } = await friend.evaluate(async (url) => {
    const answer = await fetch(url, { credentials: "include" });
    return { status: answer.status, text: await answer.text() };
  }, poll(sids[0]));
  assert.deepEqual([status, JSON.parse(text)], [400, { code: 1, message: "Session ID unknown" }]);
  assert.equal(await lb.metric("replies_session_gone_total"), 1, "siolb itself says so");

  await assertReads(friend, urlOf(lb), 503, 503);
  await assertReads(friend, poll(sids[1]), 503, 503, { method: "POST", body: "40" });
  const before = await lb.metric("replies_no_worker_total");
  await assertBlocked(stranger, urlOf(lb));
  assert.equal(await lb.metric("replies_no_worker_total"), before + 2, "siolb answered the stranger too");
});

test("a page reads 504 of a worker that is silent and 502 of one that speaks no HTTP; a stranger reads neither", async (t) => {
  const { friend, stranger, cors } = await friendAndStranger(t);
  const workers = await webWorkers(t, 1, (req, res) => {
    if (req.url.includes("silence")) return;
    if (req.url.includes("garbage")) return res.socket.end("no HTTP at all\r\n\r\n");
    if (cors.origin.includes(req.headers.origin)) {
      res.setHeader("Access-Control-Allow-Origin", req.headers.origin);
      res.setHeader("Access-Control-Allow-Credentials", "true");
    }
    res.end(openPacket("a-session"));
  });
  const lb = await siolb(t, { workers, timeouts: { response: "300ms" } });
  await handshake(friend, urlOf(lb));
  for (const [what, status] of [["silence", 504], ["garbage", 502]]) {
    await assertReads(friend, urlOf(lb, `${HANDSHAKE}&${what}`), status, status);
    await assertBlocked(stranger, urlOf(lb, `${HANDSHAKE}&${what}`));
  }
});

test("a grant is for its path: the page reads 503 of the one and not of the other", async (t) => {
  const { friend, cors } = await friendAndStranger(t);
  const [worker] = await fleet(t, 1, { servers: [{ path: "/open/", cors }, { path: "/closed/" }] });
  const lb = await siolb(t, { workers: [worker], proxy: { path: ["/open/", "/closed/"] } });
  const [open, closed] = ["/open/", "/closed/"].map((path) => urlOf(lb, `${path}?EIO=4&transport=polling`));
  await handshake(friend, open);
  await assertBlocked(friend, closed);
  await worker.kill();
  await assertReads(friend, open, 503, 503);
  await assertBlocked(friend, closed);
});

test("a grant to everybody, or without credentials, is no grant with credentials", async (t) => {
  const { friend, stranger, cors } = await friendAndStranger(t);
  for (const [granted, others] of [[{ origin: "*" }, true], [{ origin: cors.origin }, false]]) {
    const [worker] = await fleet(t, 1, { cors: granted });
    const lb = await siolb(t, { workers: [worker] });
    await handshake(friend, urlOf(lb), { credentials: false });
    if (others) await handshake(stranger, urlOf(lb), { credentials: false });
    await worker.kill();
    await assertReads(friend, urlOf(lb), 503, 503, { credentials: false });
    await assertBlocked(friend, urlOf(lb), { credentials: true });
    if (others) await assertReads(stranger, urlOf(lb), 503, 503, { credentials: false });
    else await assertBlocked(stranger, urlOf(lb), { credentials: false });
  }
});

test("no preflight is answered for workers that are gone: nobody there can say what may be sent", async (t) => {
  const { friend, cors } = await friendAndStranger(t);
  const [worker] = await fleet(t, 1, { cors });
  const lb = await siolb(t, { workers: [worker] });
  const headers = { "x-app": "1" };
  await handshake(friend, urlOf(lb, `${HANDSHAKE}&t=1`), { headers });
  await worker.kill();
  await assertReads(friend, urlOf(lb, `${HANDSHAKE}&t=2`), 503, 503);
  await assertBlocked(friend, urlOf(lb, `${HANDSHAKE}&t=3`), { headers });
});

/** A Socket.IO client in the page: `seen` tells where it was, talk(count) says numbered messages and hears their echoes. */
function startClient(page, url, options) {
  return page.evaluate(
    ({ url, options }) => {
      window.seen = { homes: [], ends: [] };
      let said = 0;
      window.socket = io(url, options);
      socket.on("worker", (id) => {
        said = 0;
        seen.homes.push(id);
      });
      socket.on("disconnect", (why) => seen.ends.push(why));
      window.talk = (count) =>
        new Promise((resolve, reject) => {
          const last = said + count;
          let due = said;
          socket.on("said", function heard(n) {
            if (n !== due++) return reject(new Error(`echo ${n} where ${due - 1} was due`));
            if (due < last) return;
            socket.off("said", heard);
            resolve();
          });
          socket.once("disconnect", reject);
          while (said < last) socket.emit("say", said++, seen.homes.at(-1), "words");
        });
    },
    { url, options },
  );
}

for (const [name, transports] of Object.entries({ "polling only": ["polling"], "with the upgrade": ["polling", "websocket"] })) {
  test(`a Socket.IO client of another origin, credentials and headers of its own, comes back by itself (${name})`, async (t) => {
    const { friend, cors } = await friendAndStranger(t);
    const workers = await fleet(t, 3, { cors, checked: false }); /* the lost session's last requests meet others */
    const lb = await siolb(t, { workers, log: { access: "on" } });
    const upgrades = transports.includes("websocket");
    await startClient(friend, urlOf(lb, "/"), {
      transports,
      withCredentials: true,
      extraHeaders: { "x-app": "1" },
      reconnectionDelay: 100,
    });
    const until = (fits, arg) => friend.waitForFunction(fits, arg);
    const isUp = (upgraded) => socket.connected && (!upgraded || socket.io.engine.transport.name === "websocket");
    await until(isUp, upgrades);
    await until(() => seen.homes.length === 1);
    await friend.evaluate(() => talk(50));

    const preflights = lb.log.filter((line) => line.event === "access" && line.method === "OPTIONS");
    assert.ok(preflights.length > 1, "its headers need preflights");
    assert.ok(preflights.some((line) => line.sid !== "-"), "of its session, too");
    assert.deepEqual([...new Set(preflights.map((line) => line.status))], ["204"]);

    const [home] = await friend.evaluate(() => seen.homes);
    await workers.byId(home).kill();
    await until(() => seen.homes.length === 2);
    await until(isUp, upgrades);
    await friend.evaluate(() => talk(50));
    const { homes, ends } = await friend.evaluate(() => seen);
    assert.notEqual(homes[1], home);
    assert.equal(ends.length, 1, ends.join());
    assert.equal(await workers.total("disorder"), 0);
    assert.equal(await workers.byId(homes[1]).counters().then((counters) => counters.messages), 50);
  });
}
