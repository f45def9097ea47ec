/* Options of the workers that change what siolb sees: cookie, compression, path, heartbeat. */
import assert from "node:assert/strict";
import test from "node:test";

import { connect, connectAll, POLLING, UPGRADING, WEBSOCKET } from "./lib/clients.mjs";
import { fleet } from "./lib/fleet.mjs";
import { agent, request } from "./lib/http.mjs";
import { poll } from "./lib/polling.mjs";
import { siolb } from "./lib/siolb.mjs";

async function talkAll(clients) {
  await Promise.all(clients.map((client) => client.talk(20)));
}

test("cookie: true on the workers: the sid of the query decides, also beside a cookie of another session", async (t) => {
  const workers = await fleet(t, 4, { cookie: true });
  const lb = await siolb(t, { workers, sticky: { cookie: "io" } });
  const first = await poll(t, lb.url);
  const [cookie] = first.handshake.headers["set-cookie"];
  assert.match(cookie, new RegExp(`^io=${first.sid};`), "Set-Cookie passes unchanged");

  /* Other tabs of the same browser: the cookie of the first session goes with all of their requests. */
  const tabs = await Promise.all(Array.from({ length: 7 }, () => poll(t, lb.url, { headers: { Cookie: `io=${first.sid}` } })));
  await Promise.all([first, ...tabs].map((client) => client.talk(10)));
  const spread = new Set([first, ...tabs].map((client) => client.worker));
  assert.equal(spread.size, 4, "new handshakes are balanced, whatever the cookie says");
});

test("cookie: true with real clients of both generations", async (t) => {
  const workers = await fleet(t, 4, { cookie: true, allowEIO3: true });
  const lb = await siolb(t, { workers, sticky: { cookie: "io" } });
  const modern = await connectAll(t, lb.url, 4, { ...UPGRADING, withCredentials: true });
  const old = await connectAll(t, lb.url, 4, { ...UPGRADING, version: 2 });
  await talkAll([...modern, ...old]);
  await Promise.all([...modern, ...old].map((client) => client.upgraded()));
  await talkAll([...modern, ...old]);
});

for (const coding of ["gzip", "deflate"]) {
  test(`httpCompression {threshold: 0}: a handshake in ${coding} is learned and passes unchanged`, async (t) => {
    const workers = await fleet(t, 4, { httpCompression: { threshold: 0 } });
    const lb = await siolb(t, { workers });
    const clients = await Promise.all(Array.from({ length: 8 }, () => poll(t, lb.url, { coding })));
    await Promise.all(clients.map((client) => client.talk(10)));
    assert.equal(new Set(clients.map((client) => client.worker)).size, 4);
    const metrics = await lb.metrics();
    assert.equal(metrics.learned_plain_total, 8);
    assert.equal(metrics.learn_failed_encoded_total, 0);
    assert.equal(metrics.route_unknown_total, 0);
  });
}

test("a compressed handshake of a 2.x server is learned", async (t) => {
  const workers = await fleet(t, 2, { version: 2, httpCompression: { threshold: 0 } });
  const lb = await siolb(t, { workers });
  const clients = await Promise.all(Array.from({ length: 4 }, () => poll(t, lb.url, { eio: 3, coding: "gzip" })));
  await Promise.all(clients.map((client) => client.talk(10)));
  assert.equal(await lb.metric("learned_text_total"), 4);
});

test("a custom path is sticky, and the default path is plain HTTP then", async (t) => {
  const workers = await fleet(t, 4, { path: "/deep/chat/" });
  const lb = await siolb(t, { workers, proxy: { path: "/deep/chat/" } });
  const clients = await connectAll(t, lb.url, 8, { ...UPGRADING, path: "/deep/chat/" });
  await talkAll(clients);
  assert.equal(new Set(clients.map((client) => client.worker)).size, 4);
  const answer = await request(`${lb.url}/socket.io/?EIO=4&transport=polling`);
  assert.equal(answer.status, 404, "the worker's application answers");
  const hint = await lb.waitLog((line) => line.level === "warn" && line.text.includes("/socket.io/"));
  assert.match(hint.text, /path/, "Engine.IO on a path that is not configured is worth a hint");
});

test("two Socket.IO servers under two paths of one port", async (t) => {
  const workers = await fleet(t, 4, { servers: [{ path: "/chat/" }, { path: "/admin/" }] });
  const lb = await siolb(t, { workers, proxy: { path: ["/chat/", "/admin/"] } });
  const shared = agent(t, 12);
  const chat = await connectAll(t, lb.url, 4, { ...POLLING, path: "/chat/", agent: shared });
  const admin = await connectAll(t, lb.url, 4, { ...POLLING, path: "/admin/", agent: shared });
  await talkAll([...chat, ...admin]);
  assert.equal(await lb.metric("learned_plain_total"), 8);
});

test("addTrailingSlash: false on both sides", async (t) => {
  const workers = await fleet(t, 4, { addTrailingSlash: false });
  const lb = await siolb(t, { workers, proxy: { path: "/socket.io" } });
  const clients = await connectAll(t, lb.url, 8, { ...UPGRADING, addTrailingSlash: false });
  await talkAll(clients);
  await Promise.all(clients.map((client) => client.upgraded()));
  await talkAll(clients);
  assert.equal(await lb.metric("learned_plain_total"), 8);
});

test("perMessageDeflate passes through the tunnel", async (t) => {
  const workers = await fleet(t, 2, { perMessageDeflate: { threshold: 0 } });
  const lb = await siolb(t, { workers });
  const clients = await connectAll(t, lb.url, 4, { ...WEBSOCKET, perMessageDeflate: { threshold: 0 } });
  await Promise.all(clients.map((client) => client.talk(20, { payload: "compressible ".repeat(500) })));
});

test("a preflight with a sid reaches the worker that owns the session", async (t) => {
  const workers = await fleet(t, 4, { version: 2 }); /* 2.x looks the sid up before it answers a preflight */
  const lb = await siolb(t, { workers });
  const clients = await Promise.all(Array.from({ length: 6 }, () => poll(t, lb.url, { eio: 3 })));
  for (const { sid } of clients) {
    const headers = { Origin: "https://app.example", "Access-Control-Request-Method": "POST" };
    const url = `${lb.url}/socket.io/?EIO=3&transport=polling&sid=${sid}`;
    const answer = await request(url, { method: "OPTIONS", headers, agent: false });
    assert.equal(answer.status, 200, answer.text);
  }
  await Promise.all(clients.map((client) => client.talk(3)));
});

test("an idle session lives as long as its heartbeat, on both transports", async (t) => {
  const beats = 10;
  const workers = await fleet(t, 2, { pingInterval: 100, pingTimeout: 2000 });
  const lb = await siolb(t, { workers });
  const clients = [await connect(t, lb.url, POLLING), await connect(t, lb.url, WEBSOCKET)];
  await Promise.all(
    clients.map(
      (client) =>
        new Promise((resolve, reject) => {
          let seen = 0;
          client.socket.once("disconnect", (why) => reject(new Error(why)));
          client.socket.io.on("ping", () => ++seen === beats && resolve());
        }),
    ),
  );
  await talkAll(clients);
});

test("sids of an application's own making, with characters that clients escape", async (t) => {
  const workers = await fleet(t, 2, { sids: "own" });
  const lb = await siolb(t, { workers });
  const clients = await connectAll(t, lb.url, 6, UPGRADING);
  await talkAll(clients);
  await Promise.all(clients.map((client) => client.upgraded()));
  await talkAll(clients);
  assert.match(clients[0].sid, /ß\+ %2F&=/);
  assert.equal(await lb.metric("route_unknown_total"), 0);
});
