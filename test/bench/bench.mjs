// bench - siolb, nginx, HAProxy and the bare forwarder side by side in one run: what does a unit of work cost?
//
// The figure is the CPU time of the proxy itself (user and system, from the scheduler), not how fast it all goes:
// clients and workers are the same for everybody and run on another CPU. The proxies take turns in short slices, so
// that whatever else the machine does hits all of them alike; reported are medians, and the ratio to the bare
// forwarder (floor.c) within the same round. Memory is measured on a fresh process per proxy.

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import readline from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const HELP = `usage: test/bench/run [--quick] [--only NAME,...] [--proxies NAME,...] [--rounds N] [--cpus N,N] [--write]

  --quick     few short rounds: under a minute, for iterating
  --only      scenarios: poll echo64 echo8k lone idle
  --proxies   floor siolb nginx haproxy
  --cpus      of the proxy, and of clients and workers; the same twice: fewer wake-ups, and less noise where others work
  --write     put the result into docs/BENCH.md

The result is printed and written to build/bench/result.md. Exit status 1: something failed or was left out.`;

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.resolve(here, "../..");
const out = path.join(root, "build/bench");
const { values: option } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string", default: "poll,echo64,echo8k,lone,idle" },
    proxies: { type: "string", default: "floor,siolb,nginx,haproxy" },
    rounds: { type: "string" },
    write: { type: "boolean", default: false },
    cpus: { type: "string", default: os.availableParallelism() > 1 ? "0,1" : "0,0" },
    help: { type: "boolean", short: "h", default: false },
  },
});
if (option.help) {
  console.log(HELP);
  process.exit(0);
}

const WORKERS = 4;
const READY_MS = 10_000;
const rounds = Number(option.rounds ?? (option.quick ? 3 : 9));
const share = option.quick ? 1 / 3 : 1; // of the units
const SCENARIO_MS = option.quick ? 9_000 : 60_000; // on a busy machine: no further round after that
const [PROXY_CPU, OTHERS_CPU] = option.cpus.split(",");

// Each scenario is a mode of the load program; `units` is what one slice takes.
const scenarios = [
  { name: "poll", mode: "poll", title: "polls on 100 connections", connections: 100, units: 30_000 },
  { name: "echo64", mode: "echo", title: "64 bytes through 100 tunnels", connections: 100, units: 30_000, bytes: 64 },
  { name: "echo8k", mode: "echo", title: "8 KiB through 100 tunnels", connections: 100, units: 20_000, bytes: 8192 },
  { name: "lone", mode: "echo", title: "64 bytes through 1 tunnel", connections: 1, units: 5_000, bytes: 64 },
].filter((s) => option.only.split(",").includes(s.name));
const idleTunnels = option.quick ? 2000 : 5000;

// Each proxy: how its config is made, and how it is started in the foreground.
const proxies = [
  { name: "floor", command: (p) => [path.join(out, "floor"), p.port, ...p.ports] },
  {
    name: "siolb",
    program: path.join(root, "build/siolb"),
    config: "siolb.ini",
    server: (port) => `worker = 127.0.0.1:${port}`,
    command: (p) => [p.program, "-c", p.file],
    version: ["-V"],
  },
  {
    name: "nginx",
    program: find("nginx"),
    config: "nginx.conf",
    server: (port) => `        server 127.0.0.1:${port};`,
    command: (p) => [p.program, "-c", p.file, "-p", p.dir],
    version: ["-v"],
  },
  {
    name: "haproxy",
    program: find("haproxy"),
    config: "haproxy.cfg",
    server: (port, at) => `    server w${at} 127.0.0.1:${port}`,
    command: (p) => [p.program, "-db", "-f", p.file],
    version: ["-v"],
  },
].filter((p) => option.proxies.split(",").includes(p.name));

// Debian keeps daemons outside of the path of plain users.
function find(program) {
  const places = [...process.env.PATH.split(":"), "/usr/sbin", "/usr/local/sbin"];
  return places.map((dir) => path.join(dir, program)).find((file) => fs.existsSync(file)) ?? program;
}

const children = new Set();
const dir = fs.mkdtempSync(path.join(os.tmpdir(), "siolb-bench-"));
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
  fs.rmSync(dir, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(1));

let complete = true;
function complain(text) {
  complete = false;
  console.error(`bench: ${text}`);
}

function start(command, cpu, stdout) {
  const child = spawn("taskset", ["-c", cpu, ...command].map(String), { stdio: ["ignore", stdout, "inherit"] });
  children.add(child);
  child.ended = new Promise((resolve) => {
    child.on("error", (error) => resolve(error.message));
    child.on("close", (status, signal) => resolve(signal ?? status));
  }).finally(() => children.delete(child));
  return child;
}

async function stop(child) {
  child.kill("SIGKILL");
  await child.ended;
}

async function firstLine(child) {
  const line = await Promise.race([once(readline.createInterface(child.stdout), "line"), child.ended]);
  if (!Array.isArray(line)) throw new Error(`${child.spawnargs.join(" ")} ended with ${line}`);
  return line[0];
}

async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

async function accepts(port) {
  const socket = net.connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

async function startProxy(proxy, ports) {
  const port = await freePort();
  const file = proxy.config && path.join(dir, `${port}-${proxy.config}`);
  if (file) {
    const servers = ports.map(proxy.server).join("\n");
    const words = { PORT: port, DIR: dir, SERVERS: servers };
    const text = fs.readFileSync(path.join(here, `${proxy.config}.in`), "utf8");
    fs.writeFileSync(file, text.replace(/@([A-Z]+)@/g, (_, word) => words[word]));
  }
  const child = start(proxy.command({ ...proxy, port, ports, file, dir }), PROXY_CPU, "ignore");
  let ended = null;
  child.ended.then((how) => (ended = how));
  for (const until = Date.now() + READY_MS; !(await accepts(port)); await new Promise((r) => setTimeout(r, 20))) {
    if (ended !== null) throw new Error(`${proxy.name} ended with ${ended}`);
    if (Date.now() > until) throw new Error(`${proxy.name} does not listen after ${READY_MS} ms`);
  }
  return { name: proxy.name, child, port };
}

// Run the load program; its line as an object of numbers, or null when it failed.
async function load(running, title, mode, ...numbers) {
  const [connections, ...rest] = numbers;
  const args = [mode, running.port, connections, ...rest, running.child.pid];
  const child = start([path.join(out, "load"), ...args], OTHERS_CPU, "pipe");
  try {
    const line = await firstLine(child);
    const status = await child.ended;
    if (status !== 0) throw new Error(`load ended with ${status}`);
    return Object.fromEntries(line.split(" ").map((pair) => pair.split("=")).map(([key, text]) => [key, Number(text)]));
  } catch (error) {
    complain(`${running.name}, ${title}: ${error.message}`);
    return null;
  }
}

const median = (list) => list.toSorted((a, b) => a - b)[(list.length - 1) >> 1];
const fixed = (number, digits) => (Number.isFinite(number) ? number.toFixed(digits) : "-");

// Slice by slice in turns: { scenario: { proxy: [{ cpu, wall, misrouted }, ...] } } per unit, times in us. A proxy that
// failed in a scenario has no figures there.
async function measureWork(ports) {
  const running = [];
  for (const proxy of proxies) running.push(await startProxy(proxy, ports));
  const result = {};
  for (const s of scenarios) {
    const slices = Object.fromEntries(proxies.map((p) => [p.name, []]));
    const until = Date.now() + SCENARIO_MS;
    for (let round = 0; round < rounds && (round === 0 || Date.now() < until); round++)
      for (const proxy of running) {
        if (slices[proxy.name] === null) continue;
        const numbers = [s.connections, Math.round(s.units * share), ...(s.bytes ? [s.bytes] : [])];
        const r = await load(proxy, s.title, s.mode, ...numbers);
        if (r === null) slices[proxy.name] = null;
        else
          slices[proxy.name].push({
            cpu: r.cpu_ns / r.units / 1000,
            wall: r.wall_ns / r.units / 1000,
            misrouted: r.misrouted / r.units,
          });
      }
    result[s.name] = Object.fromEntries(Object.entries(slices).map(([name, list]) => [name, list ?? []]));
    const line = running.map((p) => `${p.name} ${fixed(median(result[s.name][p.name].map((r) => r.cpu)), 1)} us`);
    console.error(`${s.title}: ${line.join(", ")}`);
  }
  for (const { child } of running) await stop(child);
  return result;
}

async function measureIdle(ports) {
  const result = {};
  for (const proxy of proxies) {
    const running = await startProxy(proxy, ports);
    result[proxy.name] = await load(running, "idle tunnels", "idle", idleTunnels);
    await stop(running.child);
  }
  return result;
}

function machine() {
  const cpus = os.cpus();
  const memory = Math.round(os.totalmem() / 2 ** 30);
  const versions = proxies.filter((p) => p.version).map((p) => {
    const run = spawnSync(p.program, p.version, { encoding: "utf8" });
    const [line] = `${run.stdout ?? ""}${run.stderr ?? ""}`.split("\n");
    return line.replace(/^nginx version: /, "").replace(/ - http.*/, "");
  });
  const system = fs.readFileSync("/etc/os-release", "utf8").match(/^PRETTY_NAME="(.*)"/m)?.[1] ?? "Linux";
  return (
    `${cpus.length} x ${cpus[0].model.trim()}, ${memory} GiB, ${system}, kernel ${os.release().split("-")[0]}; ` +
    `${versions.join("; ")}. Up to ${rounds} rounds, load average ${os.loadavg()[0].toFixed(1)} before; ` +
    (PROXY_CPU === OTHERS_CPU ? "one CPU for all." : "the proxy on one CPU, clients and workers on another.")
  );
}

function table(work, idle) {
  const names = proxies.map((p) => p.name);
  const rows = [["", ...names], ["", ...names].map(() => "---")];
  const row = (title, cell) => rows.push([title, ...names.map(cell)]);
  for (const s of scenarios) {
    const of = work[s.name];
    row(`${s.title}, round trip: CPU us`, (name) => fixed(median(of[name].map((r) => r.cpu)), 1));
    row("... x floor (lowest - highest round)", (name) => {
      const ratios = of[name].map((r, round) => r.cpu / of.floor?.[round]?.cpu);
      if (name === "floor" || ratios.length === 0) return "";
      return `**${fixed(median(ratios), 2)}** (${fixed(Math.min(...ratios), 2)} - ${fixed(Math.max(...ratios), 2)})`;
    });
    if (s.mode === "poll")
      row("... sent to a wrong worker", (name) =>
        name === "floor" ? "" : `${fixed(100 * median(of[name].map((r) => r.misrouted)), 0)} %`,
      );
    if (s.connections === 1) row("... there and back, us", (name) => fixed(median(of[name].map((r) => r.wall)), 0));
  }
  if (idle) {
    const each = (r) => (r.rss_after - r.rss_before) / r.tunnels;
    row(`${idleTunnels} idle tunnels: bytes resident each`, (name) => (idle[name] ? fixed(each(idle[name]), 0) : "-"));
    row("... CPU ms per second", (name) => fixed(idle[name]?.idle_cpu_ns / 1e6 / idle[name]?.seconds, 2));
    row("resident at start, MiB", (name) => fixed(idle[name]?.rss_before / 2 ** 20, 1));
  }
  const widths = rows[0].map((_, column) => Math.max(...rows.map((r) => r[column].length)));
  const filled = (cell, width) => (cell === "---" ? "-".repeat(width) : cell.padEnd(width));
  return rows.map((r) => `| ${r.map((cell, at) => filled(cell, widths[at])).join(" | ")} |`);
}

for (const proxy of [...proxies])
  if (proxy.program && !fs.existsSync(proxy.program)) {
    complain(`${proxy.name}: no ${proxy.program}, left out`);
    proxies.splice(proxies.indexOf(proxy), 1);
  }
const facts = machine();
if (os.loadavg()[0] > os.cpus().length / 2) console.error("bench: others are at work on this machine, expect noise");
const worker = start([path.join(out, "worker"), WORKERS], OTHERS_CPU, "pipe");
const ports = (await firstLine(worker)).replace("ports=", "").split(",").map(Number);
const work = await measureWork(ports);
const idle = option.only.split(",").includes("idle") ? await measureIdle(ports) : null;
await stop(worker);

const text = [facts, "", ...table(work, idle), ""].join("\n");
fs.writeFileSync(path.join(out, "result.md"), text);
if (option.write && complete) {
  const page = path.join(root, "docs/BENCH.md");
  const [before] = fs.readFileSync(page, "utf8").split(/(?<=^## Result$\n)/m);
  fs.writeFileSync(page, `${before}\n${text}`);
}
console.log(`\n${text}`);
process.exitCode = complete ? 0 : 1;
