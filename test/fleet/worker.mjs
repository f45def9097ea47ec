/*
 * worker - one real Socket.IO worker process, driven over IPC by test/e2e/lib/fleet.mjs.
 *
 *   node worker.mjs '{"id":"w0","version":4,"port":0,"servers":[{"path":"/socket.io/","cookie":true}]}'
 *
 * version 4 or 2; `servers` are Socket.IO servers on the one HTTP server, each with the options of its constructor and
 * `sids`: "own" makes sids of characters that clients have to escape, "named" begins them with the worker's id.
 * Counts what must never happen: `misroutes` (a sid that was never minted here, or a message for a socket of another
 * worker) and `disorder` (a message lost, repeated or out of order). A sid that was minted here and has ended is `late`:
 * a client's last poll can be overtaken by its own goodbye. Each is also told to the parent at once, which a worker that
 * is killed could not do later. GET /whoami answers with the worker's id.
 *
 * Every socket gets `worker` (id) at once, and understands:
 *   say n owner payload  ->  said n payload   messages numbered from 0; owner: the id it was told
 *   want count payload   ->  got n payload    that many, numbered from 0
 *   take payload         ->  acknowledged with its size
 *   give size            ->  acknowledged with that many bytes
 *   forwarded            ->  acknowledged with what X-Forwarded-For, -Proto and -Host of its handshake say
 */
import { createHash, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const UNKNOWN_SID = 1;
const LEAVE_MS = 1_000;

const { id, version, port, servers } = JSON.parse(process.argv[2]);
const counters = { misroutes: 0, disorder: 0, connections: 0, disconnections: 0, messages: 0, requests: 0, probes: 0, late: 0 };
const minted = new Set(); /* every sid of this worker, for as long as it runs */
const notes = []; /* what the misroutes were, for the failure's message */
const { Server } = version === 4 ? await import("socket.io") : { Server: require("socket.io-2") };

/* At once, for a worker that may be killed: {misroute, disorder or late, sid, at}. */
function tell(kind, what, sid) {
  process.send({ told: { [kind]: what, sid, at: Date.now() } });
}

function misroute(what, sid) {
  counters.misroutes++;
  notes.push(`${id}: ${what}`);
  tell("misroute", what, sid);
}

const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");

function serve(socket) {
  let next = 0;
  counters.connections++;
  socket.emit("worker", id);
  socket.on("disconnect", () => counters.disconnections++);
  socket.on("say", (n, owner, payload) => {
    counters.messages++;
    if (owner !== id) misroute(`message ${n} of a socket of ${owner}`);
    if (n !== next) {
      counters.disorder++;
      notes.push(`${id}: message ${n} where ${next} was due`);
      tell("disorder", `message ${n} where ${next} was due`);
    }
    next = n + 1;
    socket.emit("said", n, payload);
  });
  socket.on("want", (count, payload) => {
    for (let n = 0; n < count; n++) socket.emit("got", n, payload);
  });
  socket.on("take", (payload, done) => done(Buffer.byteLength(payload), digest(payload)));
  socket.on("give", (size, done) => done(Buffer.alloc(size, id)));
  socket.on("give text", (size, done) => done("x".repeat(size)));
  socket.on("forwarded", (done) => {
    const { headers } = socket.handshake;
    done(headers["x-forwarded-for"], headers["x-forwarded-proto"], headers["x-forwarded-host"]);
  });
  socket.on("leave", () => socket.disconnect(true));
}

function unknownSid(sid, req) {
  if (minted.has(sid)) {
    counters.late++;
    tell("late", `${req.method} ${req.url}`, sid);
  } else if (sid === "-") {
    counters.probes++; /* a health check's question, not a client's */
  } else {
    misroute(`unknown sid in ${req.method} ${req.url}`, sid);
  }
}

/* engine.io 3 has no "connection_error" event: look at the verdict itself. */
function watch(engine) {
  engine.on("connection", (socket) => minted.add(socket.id));
  if (version === 4) {
    engine.on("connection_error", ({ code, req }) => code === UNKNOWN_SID && unknownSid(req._query.sid, req));
    return;
  }
  const verify = engine.verify.bind(engine);
  engine.verify = (req, upgrade, done) =>
    verify(req, upgrade, (code, success) => {
      if (!success && code === UNKNOWN_SID) unknownSid(req._query.sid, req);
      done(code, success);
    });
}

const http = createServer((req, res) => {
  counters.requests++;
  const known = req.url.startsWith("/whoami");
  res.writeHead(known ? 200 : 404, { "Content-Type": "text/plain" });
  res.end(known ? id : "not here");
});
const ios = servers.map(({ sids, ...options }) => {
  const io = new Server(http, { serveClient: false, ...options });
  const engine = version === 4 ? io.engine : io.eio;
  watch(engine);
  if (sids === "own") engine.generateId = () => `${id} ß+ %2F&=#?" ${randomUUID()}`;
  if (sids === "named") engine.generateId = () => `${id}~${randomUUID()}`;
  io.on("connection", serve);
  return io;
});

const answers = {
  counters: () => ({ ...counters, notes }),
  emit: (event, ...args) => ios.forEach((io) => io.emit(event, ...args)),
  sids: () => ios.flatMap((io) => Object.keys((version === 4 ? io.engine : io.eio).clients)),
  forget: () => ios.forEach((io) => (version === 4 ? io.engine : io.eio).close()),
};

/* As a deployment would: no new connections, a goodbye to each session, and the end when all are gone. */
function leave() {
  http.close(() => process.exit(0));
  ios.forEach((io) => io.close());
  setTimeout(() => process.exit(0), LEAVE_MS);
}

process.on("SIGTERM", leave);
process.on("message", ({ ask, args, number }) => process.send({ number, answer: answers[ask](...args) ?? null }));
process.on("disconnect", () => process.exit(0)); /* the test is over, or gone */
http.listen(port, "127.0.0.1", () => process.send({ port: http.address().port }));
