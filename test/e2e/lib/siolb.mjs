/*
 * siolb - the binary under test: writes an ini file, starts it on a port that the kernel picks, reads its log.
 *
 *   const lb = await siolb(t, { workers, proxy: { path: ["/a/", "/b/"] }, sticky: { cookie: "io" } });
 *   lb.port  lb.url  lb.pid  lb.log  await lb.metrics()  await lb.stop()
 *
 * When the test is over it is stopped and must have ended by itself with status 0, without a line that is no log line
 * (a sanitizer's report is one). The log is printed when the test failed. Environment: SIOLB names another binary.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { defer, within } from "./defer.mjs";
import { Log } from "./log.mjs";

export const binary = process.env.SIOLB || fileURLToPath(new URL("../../../build/siolb", import.meta.url));

/** Is it a build with AddressSanitizer? Its memory says nothing about siolb's. */
export const is_sanitized = existsSync(binary) && readFileSync(binary).includes("__asan_init");

const START_MS = 30_000; /* safety nets, far above what a busy machine needs */
const LOG_MS = 30_000;
const ASK_AGAIN_MS = 2_000;
const STOP_MS = 15_000;
const SHOWN_LINES = 300;
const OURS = new Set(["file", "workers", "listen", "args", "prefix", "program"]);

/** A directory of its own for the test. */
export function scratch(t) {
  const directory = mkdtempSync(join(tmpdir(), "siolb-e2e-"));
  defer(t, () => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Options as ini text: sections of key: value, a list repeats its key. */
export function iniOf(sections) {
  return Object.entries(sections)
    .map(([section, keys]) => {
      const lines = Object.entries(keys).flatMap(([key, values]) => [values].flat().map((v) => `${key} = ${v}\n`));
      return `[${section}]\n${lines.join("")}`;
    })
    .join("");
}

function addressOf(worker) {
  return typeof worker === "string" ? worker : worker.address;
}

function sectionsOf(options) {
  const given = Object.fromEntries(Object.entries(options).filter(([name]) => !OURS.has(name)));
  return {
    ...given,
    proxy: { listen: options.listen ?? "127.0.0.1:0", ...given.proxy },
    workers: { worker: options.workers.map(addressOf) },
    timeouts: { drain: "1s", ...given.timeouts },
  };
}

/** Runs siolb to its end: for -t, -V and their like. */
export async function run(t, args) {
  const child = spawn(binary, args, { stdio: ["ignore", "pipe", "pipe"] });
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) child[name].setEncoding("utf8").on("data", (s) => (output[name] += s));
  defer(t, () => child.exitCode ?? child.kill("SIGKILL"));
  const [status, signal] = await within(START_MS, `siolb ${args.join(" ")} to end`, once(child, "close"));
  return { ...output, status, signal };
}

class Siolb {
  #child;
  #log;
  #exit;
  #asked = Promise.resolve();

  constructor(child) {
    this.#child = child;
    this.#log = new Log(child.stderr);
    this.#exit = once(child, "close").then(([status, signal]) => ({ status, signal }));
    this.pid = child.pid;
  }

  /** Every log line so far, parsed (log.mjs). */
  get log() {
    return this.#log.lines;
  }

  /** Ends with {status, signal}. */
  get exit() {
    return this.#exit;
  }

  get has_exited() {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** The first log line from number `from` (lb.log.length: only new ones) that fits. */
  waitLog(fits, from = 0) {
    return within(LOG_MS, `a log line that fits ${fits}`, this.#log.wait(fits, from));
  }

  async ready() {
    const line = await within(START_MS, "siolb to be ready", this.#log.wait((l) => l.event === "ready"));
    this.ready_line = line;
    this.listens = line.listen.split(",");
    const tcp = this.listens.find((listen) => !listen.startsWith("unix:"));
    if (tcp) {
      this.port = Number(tcp.slice(tcp.lastIndexOf(":") + 1));
      this.url = `http://127.0.0.1:${this.port}`;
    }
  }

  signal(name) {
    this.#child.kill(name);
  }

  /** All counters and gauges, by their names in metrics.def. */
  metrics() {
    const answer = this.#asked.then(async () => {
      const from = this.log.length;
      this.signal("SIGUSR1");
      /* Lines are lost when many come at once (the log never waits for its reader), this one too. */
      const again = setInterval(() => this.signal("SIGUSR1"), ASK_AGAIN_MS);
      const line = await this.waitLog((l) => l.event === "metrics", from).finally(() => clearInterval(again));
      return Object.fromEntries(
        Object.entries(line)
          .filter(([, text]) => /^\d+$/.test(text))
          .map(([name, text]) => [name, Number(text)]),
      );
    });
    this.#asked = answer.catch(() => {});
    return answer;
  }

  async metric(name) {
    const metrics = await this.metrics();
    assert.ok(name in metrics, `there is a metric ${name}`);
    return metrics[name];
  }

  /** Metrics as soon as they fit: for what has no event of its own outside of siolb. */
  async untilMetrics(fits) {
    const asks = async () => {
      for (;;) {
        const metrics = await this.metrics();
        if (fits(metrics)) return metrics;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    };
    return within(LOG_MS, `metrics that fit ${fits}`, asks());
  }

  /** Resident bytes. */
  rss() {
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${this.pid}/status`, "utf8"))[1]) * 1024;
  }

  /** Open descriptors. */
  fds() {
    return readdirSync(`/proc/${this.pid}/fd`).length;
  }

  /** Processor time used so far, user and system, in clock ticks (1/100 s). */
  cpuTicks() {
    const fields = readFileSync(`/proc/${this.pid}/stat`, "utf8").split(") ")[1].split(" ");
    return Number(fields[11]) + Number(fields[12]);
  }

  /** SIGTERM, then how it ended: {status, signal}. Harmless when it has ended already. */
  async stop() {
    if (!this.has_exited) this.signal("SIGTERM");
    try {
      return await within(STOP_MS, "siolb to end after SIGTERM", this.#exit);
    } catch (error) {
      this.signal("SIGKILL");
      await this.#exit;
      throw error;
    }
  }

  printLog() {
    const shown = this.log.slice(-SHOWN_LINES).map((line) => line.text);
    console.error(`--- log of siolb ${this.pid}, last ${shown.length} of ${this.log.length} lines\n${shown.join("\n")}\n---`);
  }
}

async function stopAndJudge(t, lb) {
  let fine = false;
  try {
    const end = await lb.stop();
    assert.deepEqual(end, { status: 0, signal: null }, "siolb ends by itself");
    const odd = lb.log.filter((line) => line.event === undefined && !line.text.startsWith("{"));
    assert.deepEqual(odd.map((line) => line.text), [], "siolb writes log lines and nothing else");
    fine = true;
  } finally {
    if (!fine || !t.passed) lb.printLog();
  }
}

function iniFile(t, options) {
  const file = join(scratch(t), "siolb.ini");
  writeFileSync(file, iniOf(sectionsOf(options)));
  return file;
}

/**
 * Start siolb. Options: `workers` (objects with an address, or texts for `worker =`), `listen`, any section of the ini
 * file ({ proxy, sticky, timeouts, limits, log }), `args` (more of the command line), `prefix` (a command that runs it,
 * e.g. prlimit), `program` (another binary), `file` (false: none).
 */
export async function siolb(t, options) {
  const file_arguments = options.file === false ? [] : ["-c", iniFile(t, options)];
  /* A test runner that is killed must leave no siolb behind. */
  const dies_with_us = ["setpriv", "--pdeathsig", "KILL"];
  const [command, ...args] = [...(options.prefix ?? []), ...dies_with_us, options.program ?? binary, ...file_arguments, ...(options.args ?? [])];
  const child = spawn(command, args, { stdio: ["ignore", "inherit", "pipe"] });
  const lb = new Siolb(child);
  defer(t, () => stopAndJudge(t, lb));
  await lb.ready();
  return lb;
}
