/* Our own replies: workers that refuse, are silent or are gone; and what a browser may read of them. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import test from "node:test";

import { defer, within } from "./lib/defer.mjs";
import { answers, get, GET, HANDSHAKE, openAnswer, post, rawClient, response, scriptedWorker, teach } from "./lib/scripted.mjs";
import { siolb } from "./lib/siolb.mjs";

const WAIT_MS = 10_000;
const ORIGIN = "https://app.example";

/** The address of a worker that refuses. */
async function refused(t) {
  const worker = await scriptedWorker(t, { id: "refused" });
  worker.refuse();
  return worker;
}

/** A listening process that accepts nothing and whose queue is full: connects to it stay unanswered. */
async function unreachable(t) {
  const code = `const s = require("net").createServer().listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => console.log(s.address().port))`;
  const child = spawn(process.execPath, ["-e", code], { stdio: ["ignore", "pipe", "inherit"] });
  defer(t, () => child.kill("SIGKILL"));
  const [port] = await within(WAIT_MS, "a listening process", once(child.stdout.setEncoding("utf8"), "data"));
  child.kill("SIGSTOP");
  for (;;) {
    const socket = net.connect(Number(port), "127.0.0.1");
    socket.on("error", () => {});
    defer(t, () => socket.destroy());
    const connected = once(socket, "connect").then(() => true);
    const pause = new Promise((resolve) => setTimeout(resolve, 300, false));
    if (!(await Promise.race([connected, pause]))) return `127.0.0.1:${Number(port)}`;
  }
}

async function assertReply(client, status, { code = status, stays = true, message = /./ } = {}) {
  const { status: got, head, body } = await client.response();
  assert.equal(got, status);
  assert.match(head, /\r\nContent-Type: application\/json\r\n/);
  assert.match(head, /\r\nCache-Control: no-store\r\n/);
  assert.match(head, stays ? /\r\nConnection: keep-alive\r\n/ : /\r\nConnection: close\r\n/);
  assert.equal(/\r\nRetry-After: \d+\r\n/.test(head), status === 503);
  const json = JSON.parse(body);
  assert.equal(json.code, code);
  assert.match(json.message, message);
  if (!stays) assert.equal(await client.ended(), "fin");
  return head;
}

test("no worker to be reached: 503 with Retry-After; the connection stays and serves once a worker is back", async (t) => {
  const gone = await refused(t);
  const lb = await siolb(t, { workers: [gone] });
  const client = await rawClient(t, lb);
  for (const request of [GET, post("/p", "body"), get(HANDSHAKE)]) {
    await client.send(request);
    await assertReply(client, 503);
  }
  assert.equal(await lb.metric("replies_no_worker_total"), 3);
  await scriptedWorker(t, { port: gone.port, script: answers(() => response("back")) });
  await client.send(GET);
  await client.expect(response("back"));
});

test("503 to a request that was not read whole closes the connection", async (t) => {
  const lb = await siolb(t, { workers: [await refused(t)] });
  const client = await rawClient(t, lb);
  await client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\npart");
  await assertReply(client, 503, { stays: false });
});

test("503 to HEAD has no body, and pipelined requests behind it get their own", async (t) => {
  const lb = await siolb(t, { workers: [await refused(t)] });
  const client = await rawClient(t, lb);
  await client.send(GET.replace("GET", "HEAD") + GET);
  assert.match(await client.head(), /^HTTP\/1\.1 503 [^]*Content-Length: [1-9]/);
  await assertReply(client, 503);
});

test("503 honours Connection: close and HTTP/1.0", async (t) => {
  const lb = await siolb(t, { workers: [await refused(t)] });
  for (const request of [get("/", "Connection: close"), GET.replace("HTTP/1.1", "HTTP/1.0")]) {
    const client = await rawClient(t, lb);
    await client.send(request);
    await assertReply(client, 503, { stays: false });
  }
});

for (const [what, request] of [
  ["GET", GET],
  ["POST", post("/p", "body")],
  ["handshake", get(HANDSHAKE)],
]) {
  test(`a refused connect costs a ${what} nothing: another worker gets it`, async (t) => {
    const alive = await scriptedWorker(t, { script: answers(({ body }) => response(`alive ${body}`)) });
    const lb = await siolb(t, { workers: [await refused(t), alive, await refused(t)], proxy: { balance: "round-robin" } });
    for (let n = 0; n < 6; n++) {
      const client = await rawClient(t, lb);
      await client.send(request);
      await client.expect(response(`alive ${/body$/.exec(request) ?? ""}`));
    }
    const metrics = await lb.metrics();
    assert.deepEqual([metrics.replies_no_worker_total, metrics.upstream_refused_total], [0, 2], "one try for each of the two");
  });
}

test("a refused connect with half of a request body read: another worker gets all of it", async (t) => {
  const alive = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [await refused(t), alive], proxy: { balance: "round-robin" } });
  for (let n = 0; n < 2; n++) {
    const client = await rawClient(t, lb);
    const head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n";
    await client.send(`${head}half`);
    const up = await alive.accepted();
    await up.expect(`${head}half`);
    await client.send("rest");
    await up.expect("rest");
    await up.send(response("ok"));
    await client.expect(response("ok"));
    await up.reset();
  }
});

test("a worker that refused gets no newcomers for a second, then one tries; once it accepts it is up again", async (t) => {
  const gone = await refused(t);
  const alive = await scriptedWorker(t, { id: "alive", script: answers(() => response("alive")) });
  const lb = await siolb(t, { workers: [gone, alive], proxy: { balance: "round-robin" } });
  const client = await rawClient(t, lb);
  const ask = async () => {
    await client.send(GET);
    return (await client.response()).body;
  };
  const from = Date.now();
  while ((await lb.metric("upstream_refused_total")) < 2) assert.equal(await ask(), "alive");
  assert.ok(Date.now() - from >= 900, "the second try comes a second after the first");
  await scriptedWorker(t, { port: gone.port, script: answers(() => response("back")) });
  const answered = async () => {
    while ((await ask()) !== "back") await new Promise((resolve) => setTimeout(resolve, 20));
  };
  await within(5_000, "the worker to be tried again, two seconds later", answered());
  const up = lb.log.filter((line) => line.event === "worker up" && line.worker === gone.address);
  assert.equal(up.length, 1);
});

test("a worker that accepts no connection: the next one serves after the connect time", async (t) => {
  const silent = await unreachable(t);
  const alive = await scriptedWorker(t, { script: answers(() => response("alive")) });
  const lb = await siolb(t, { workers: [silent, alive], proxy: { balance: "round-robin" }, timeouts: { connect: "300ms" } });
  const clients = await Promise.all([1, 2, 3, 4].map(() => rawClient(t, lb)));
  for (const client of clients) await client.send(post("/p", "body"));
  for (const client of clients) await client.expect(response("alive"));
  assert.ok((await lb.metric("upstream_timed_out_total")) >= 1);
});

test("only workers that accept no connection: 503", async (t) => {
  const lb = await siolb(t, { workers: [await unreachable(t)], timeouts: { connect: "300ms" } });
  const client = await rawClient(t, lb);
  await client.send(GET);
  await assertReply(client, 503);
});

test("a client that leaves while its worker is being connected leaves nothing behind", async (t) => {
  const lb = await siolb(t, { workers: [await unreachable(t)], timeouts: { connect: "1s" } });
  const gone = await rawClient(t, lb);
  const fin = await rawClient(t, lb);
  await gone.send(GET);
  await fin.send(GET);
  await lb.untilMetrics((m) => m.exchanges === 2);
  await gone.reset();
  await fin.fin();
  await lb.untilMetrics((m) => m.exchanges === 0 && m.clients === 0);
});

test("a silent worker: 504 after timeouts.response, its connection is closed, the client's stays", async (t) => {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker], timeouts: { response: "300ms" } });
  const client = await rawClient(t, lb);
  await client.send(GET);
  const up = await worker.accepted();
  await up.expect(GET);
  const from = Date.now();
  await assertReply(client, 504);
  assert.ok(Date.now() - from < 3000);
  assert.match(await up.ended(), /fin|reset/);
  assert.equal(await lb.metric("replies_response_timeout_total"), 1);
  await client.send(GET);
  const fresh = await worker.accepted();
  await fresh.expect(GET);
  await fresh.send(response("ok"));
  await client.expect(response("ok"));
});

test("timeouts.response counts from the end of the request and ends with the first byte of the answer", async (t) => {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker], timeouts: { response: "500ms" } });
  const client = await rawClient(t, lb);
  await client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n");
  const up = await worker.accepted();
  await up.head();
  await client.quiet(800);
  await client.send("body");
  await up.expect("body");
  const head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
  await up.send(head);
  await client.expect(head);
  await client.quiet(800);
  await up.send("ok");
  await client.expect("ok");
});

test("a known session whose only worker refuses: 400 code 1, so that its client starts afresh", async (t) => {
  const worker = await scriptedWorker(t, { script: answers(({ target }, up) => (target.includes("sid=") ? new Promise(() => up) : openAnswer("w0"))) });
  const lb = await siolb(t, { workers: [worker] });
  const [sid] = await teach(lb, [worker]);
  worker.refuse();
  const held = await rawClient(t, lb); /* takes the pooled connection */
  await held.send(get(`${HANDSHAKE}&sid=${sid}`));
  await lb.untilMetrics((m) => m.exchanges === 1);
  const client = await rawClient(t, lb);
  await client.send(post(`${HANDSHAKE}&sid=${sid}`, "40"));
  await assertReply(client, 400, { code: 1, message: /^Session ID unknown$/ });
  const metrics = await lb.metrics();
  assert.deepEqual([metrics.replies_session_gone_total, metrics.sessions_lost_total, metrics.sessions], [1, 1, 0]);
});

test("a known session whose worker refuses, others being there: one of them says that it does not know it", async (t) => {
  const script = (id) =>
    answers(({ target }) => {
      if (!target.includes("sid=")) return openAnswer(id, {});
      return response(`{"code":1,"message":"${id} does not know it"}`, { status: "400 Bad Request" });
    });
  const workers = [await scriptedWorker(t, { id: "w0", script: script("w0") })];
  let open;
  workers.push(
    await scriptedWorker(t, {
      id: "w1",
      script: async (up) => {
        open = up;
        await answers(() => openAnswer("w1"))(up);
      },
    }),
  );
  const lb = await siolb(t, { workers, proxy: { balance: "round-robin" } });
  const [, sid] = await teach(lb, workers);
  workers[1].refuse();
  await open.reset();
  const client = await rawClient(t, lb);
  await client.send(get(`${HANDSHAKE}&sid=${sid}`));
  const { status, body } = await client.response();
  assert.deepEqual([status, body], [400, '{"code":1,"message":"w0 does not know it"}']);
});

/** siolb that has seen its worker grant `ORIGIN` what `fields` say, and that reaches no worker any more. */
async function afterGrant(t, fields, status = "200 OK") {
  const worker = await scriptedWorker(t, {
    script: async (up) => {
      await up.head();
      await up.fin(response("x", { status, fields: [...fields, "Connection: close"] }));
    },
  });
  const lb = await siolb(t, { workers: [worker] });
  const client = await rawClient(t, lb);
  await client.send(get(HANDSHAKE, `Origin: ${ORIGIN}`));
  await client.rest();
  worker.refuse();
  return lb;
}

async function replyTo(t, lb, target, ...fields) {
  const client = await rawClient(t, lb);
  await client.send(get(target, ...fields));
  return assertReply(client, 503);
}

const GRANT = [`Access-Control-Allow-Origin: ${ORIGIN}`, "Access-Control-Allow-Credentials: true", "Vary: Origin"];

test("CORS: what a worker granted to an origin on a path is mirrored in our own reply to it", async (t) => {
  const lb = await afterGrant(t, GRANT);
  const head = await replyTo(t, lb, HANDSHAKE, `Origin: ${ORIGIN}`);
  assert.match(head, new RegExp(`\r\nAccess-Control-Allow-Origin: ${ORIGIN}\r\n`));
  assert.match(head, /\r\nAccess-Control-Allow-Credentials: true\r\n/);
  assert.match(head, /\r\nVary: Origin\r\n/);
});

test("CORS: a grant to everybody without credentials is mirrored as that", async (t) => {
  const lb = await afterGrant(t, ["Access-Control-Allow-Origin: *"]);
  const head = await replyTo(t, lb, HANDSHAKE, `Origin: ${ORIGIN}`);
  assert.match(head, /\r\nAccess-Control-Allow-Origin: \*\r\n/);
  assert.doesNotMatch(head, /Allow-Credentials/);
});

test("CORS: nothing is granted that no worker granted: another origin, another path, no grant, an error's grant", async (t) => {
  const lb = await afterGrant(t, GRANT);
  for (const [target, ...fields] of [
    [HANDSHAKE, "Origin: https://evil.example"],
    [HANDSHAKE],
    ["/elsewhere", `Origin: ${ORIGIN}`],
  ]) {
    assert.doesNotMatch(await replyTo(t, lb, target, ...fields), /Access-Control/);
  }
  for (const without of [await afterGrant(t, []), await afterGrant(t, GRANT, "403 Forbidden")]) {
    assert.doesNotMatch(await replyTo(t, without, HANDSHAKE, `Origin: ${ORIGIN}`), /Access-Control/);
  }
});
