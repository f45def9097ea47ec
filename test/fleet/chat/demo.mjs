/*
 * demo - four chat workers and siolb in front of them; scripts/demo runs it.
 *
 *   demo (this process) ---+--- worker.mjs, one a port; together one chat, by the cluster adapter over this process
 *                          '--- siolb, on the port that browsers use
 *
 * Nothing is left behind, however it ends: the workers end with the channel to this process, siolb is killed by the
 * kernel when this process is gone (setpriv --pdeathsig).
 */
import { setupPrimary } from "@socket.io/cluster-adapter";
import { spawn } from "node:child_process";
import cluster from "node:cluster";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { parseArgs, stripVTControlCharacters } from "node:util";

const SIOLB = process.env.SIOLB || fileURLToPath(new URL("../../../build/siolb", import.meta.url));
const INI = fileURLToPath(new URL("../../../siolb.ini.example", import.meta.url));
const RESTART_MS = 1000;
const READY_TRIES = 100;
const LOG_LINES = 20;

const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const paint = (code, text) => (process.stdout.isTTY ? `\x1b[${code}m${text}\x1b[0m` : text);
const colourOf = (port) => 31 + ((port - first + 5) % 6); /* 36, 31, 32, ...: readable on dark and light */

let first, last, port; /* the workers' ports, and siolb's */
let balancer; /* siolb's process */
let stopping = false;
const fleet = new Map(); /* port -> { worker, members, up } */

function say(worker, what) {
  const time = new Date().toTimeString().slice(0, 8);
  const who = worker ? `worker ${worker}` : "siolb";
  console.log(`${paint(2, time)}  ${paint(worker ? colourOf(worker) : 1, who.padEnd(12))} ${stripVTControlCharacters(what)}`);
}

/** Ends everything, then this process with `status`. Only the first call counts. */
async function stop(status, why) {
  if (stopping) return;
  stopping = true;
  if (why) console.error(`demo: ${why}`);
  const gone = [];
  for (const { worker } of fleet.values()) {
    if (!worker.isDead()) gone.push(once(worker, "exit"));
    worker.process.kill("SIGKILL");
  }
  if (balancer?.exitCode === null && balancer.signalCode === null) {
    gone.push(once(balancer, "exit"));
    balancer.kill("SIGKILL");
  }
  await Promise.all(gone);
  process.exit(status);
}

function readArguments() {
  const { values } = parseArgs({
    options: { port: { type: "string", default: "8080" }, "worker-ports": { type: "string", default: "3001-3004" } },
  });
  const [, from, to] = /^(\d{1,5})-(\d{1,5})$/.exec(values["worker-ports"]) ?? [];
  [port, first, last] = [values.port, from, to].map(Number);
  const isPort = (number) => number > 0 && number < 65536;
  if (!isPort(port)) throw new Error(`--port ${values.port}: not a port`);
  if (!isPort(first) || !isPort(last) || first > last) throw new Error("--worker-ports wants FIRST-LAST, as in 3001-3004");
  if (last - first > 63) throw new Error("--worker-ports: 64 workers are enough for a demo");
  if (port >= first && port <= last) throw new Error("--port lies in --worker-ports");
}

/** Is a port free on all addresses? */
async function isFree(number) {
  const probe = createServer();
  probe.listen(number, "0.0.0.0");
  try {
    await once(probe, "listening");
  } catch (error) {
    if (error.code === "EADDRINUSE") return false;
    throw error;
  }
  probe.close();
  await once(probe, "close");
  return true;
}

function tellFleet() {
  const members = [...fleet].map(([number, { up, members }]) => ({ port: number, up, members }));
  for (const { worker } of fleet.values()) if (worker.isConnected()) worker.send({ fleet: members }, () => {});
}

/** Resolves when the worker listens; a worker that dies later is started again. */
function startWorker(number) {
  const worker = cluster.fork({ PORT: number });
  const entry = { worker, members: 0, up: false };
  fleet.set(number, entry);
  return new Promise((ready) => {
    worker.on("message", ({ listening, taken, line, members }) => {
      if (taken) stop(1, `port ${number} is taken; choose other ones for the workers with --worker-ports FIRST-LAST`);
      if (line) say(number, line);
      if (members !== undefined) entry.members = members;
      if (listening) entry.up = true;
      if (listening || members !== undefined) tellFleet();
      if (listening) ready();
    });
    worker.on("exit", async (status, signal) => {
      if (stopping) return;
      if (!entry.up) return stop(1, `the worker on port ${number} did not start (${signal ?? `status ${status}`})`);
      entry.up = false;
      entry.members = 0;
      say(number, `ended (${signal ?? `status ${status}`}), its sessions with it; starting it again`);
      tellFleet();
      await wait(RESTART_MS);
      if (stopping) return;
      await startWorker(number);
      say(number, "listens again");
    });
  });
}

/** Is someone listening on siolb's port? */
function answers() {
  return new Promise((tell) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("connect", () => tell(true)).on("error", () => tell(false));
    socket.on("connect", () => socket.destroy());
  });
}

/** Resolves when siolb accepts connections. Of its log, warnings and errors are shown; all of its end, if it dies. */
async function startSiolb() {
  const own = ["-c", INI];
  if (port !== 8080) own.push("-l", `0.0.0.0:${port}`);
  if (first !== 3001 || last !== 3004) own.push("-w", `${first}-${last}`);
  const tail = [];
  let rest = "";
  balancer = spawn("setpriv", ["--pdeathsig", "KILL", SIOLB, ...own], { stdio: ["ignore", "ignore", "pipe"], detached: true });
  balancer.on("error", (error) => stop(1, `siolb did not start: ${error.message}`));
  balancer.stderr.setEncoding("utf8").on("data", (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const line of lines) if (/^\S+ (warn|error) /.test(line)) say(0, line.replace(/^\S+ /, ""));
    tail.push(...lines);
    tail.splice(0, tail.length - LOG_LINES);
  });
  balancer.on("close", (status, signal) => {
    if (!stopping) console.error([...tail, rest].join("\n"));
    stop(1, `siolb ended (${signal ?? `status ${status}`})`);
  });
  for (let tries = 0; !(await answers()); tries++) {
    if (tries === READY_TRIES) return stop(1, "siolb does not answer");
    await wait(50);
  }
}

try {
  readArguments();
} catch (error) {
  console.error(`demo: ${error.message}`);
  process.exit(2);
}
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"])
  process.on(signal, () => stop(signal === "SIGINT" ? 0 : 1));
process.stdout.on("error", () => stop(1)); /* the terminal is gone */

if (!(await isFree(port))) await stop(1, `port ${port} is taken; choose another with --port PORT`);
setupPrimary();
cluster.setupPrimary({ exec: fileURLToPath(new URL("worker.mjs", import.meta.url)), args: [] });
const ports = Array.from({ length: last - first + 1 }, (_, at) => first + at);
await Promise.all(ports.map(startWorker));
await startSiolb();
console.log(`
  The chat:  ${paint(1, `http://localhost:${port}/`)}   open it in several tabs: each may land on another worker
  Workers:   ${ports.map((number) => paint(colourOf(number), `${number} (pid ${fleet.get(number).worker.process.pid})`)).join("  ")}
  Try:       kill one of them and watch its members move;  Ctrl-C ends it all
`);
