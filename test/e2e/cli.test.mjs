/* The command line: what it prints, what it complains about, how it ends. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";

import { request, webWorkers } from "./lib/http.mjs";
import { run, scratch, siolb } from "./lib/siolb.mjs";

function iniFile(t, text) {
  const file = join(scratch(t), "siolb.ini");
  writeFileSync(file, text);
  return file;
}

test("-h and --help print the usage on stdout", async (t) => {
  for (const flag of ["-h", "--help"]) {
    const { status, stdout, stderr } = await run(t, [flag]);
    assert.deepEqual([status, stderr], [0, ""]);
    assert.match(stdout, /usage: siolb/);
    for (const word of ["-c", "-t", "-l", "-w", "-V", "--print-defaults", "status"]) assert.ok(stdout.includes(word), word);
  }
});

test("-V and --version name siolb and its libraries", async (t) => {
  for (const flag of ["-V", "--version"]) {
    const { status, stdout, stderr } = await run(t, [flag]);
    assert.deepEqual([status, stderr], [0, ""]);
    assert.match(stdout, /^siolb \d+\.\d+/);
    for (const library of [/libevent\D+2\.1/, /zlib\D+1\./]) assert.match(stdout, library);
  }
});

test("--print-defaults prints a file that siolb itself takes", async (t) => {
  const defaults = await run(t, ["--print-defaults"]);
  assert.deepEqual([defaults.status, defaults.stderr], [0, ""]);
  const tested = await run(t, ["-t", "-c", iniFile(t, defaults.stdout), "-w", "3001-3004"]);
  assert.deepEqual([tested.status, tested.stderr], [0, ""]);
});

test("siolb.ini.example is what --print-defaults prints", async (t) => {
  const { stdout } = await run(t, ["--print-defaults"]);
  assert.equal(readFileSync(new URL("../../siolb.ini.example", import.meta.url), "utf8"), stdout);
});

test("-t prints the effective configuration, which means the same when it is read again", async (t) => {
  const file = iniFile(
    t,
    "[proxy]\nlisten = 127.0.0.1:8085\npath = /a/\npath = /b/\nbalance = p2c\n" +
      "[workers]\nworker = localhost:3001-3003 weight=2\nworker = 127.0.0.1:4000\n" +
      "[sticky]\ncookie = io\n[timeouts]\ndrain = 90s\n[limits]\nbuffer = 128k\n[log]\naccess = json\n",
  );
  const first = await run(t, ["-t", "-c", file]);
  assert.deepEqual([first.status, first.stderr], [0, ""]);
  for (const line of [
    /^listen = 127\.0\.0\.1:8085$/m,
    /^path = \/a\/$/m,
    /^path = \/b\/$/m,
    /^balance = p2c$/m,
    /127\.0\.0\.1:3001.* weight=2/,
    /^worker = 127\.0\.0\.1:4000/m,
    /^cookie = io$/m,
    /^buffer = 128k$/m,
    /^access = json$/m,
    /^connect = 2s$/m,
  ]) {
    assert.match(first.stdout, line);
  }
  const second = await run(t, ["-t", "-c", iniFile(t, first.stdout)]);
  assert.deepEqual([second.status, second.stdout], [0, first.stdout]);
});

test("every mistake of a file is reported, with file, line, section and key, and the exit status is 1", async (t) => {
  const lines = [
    ["[proxy]"],
    ["listen = 127.0.0.1:99999", /listen/],
    ["balanse = least", /balance/],
    ["balance = fastest", /balance.*fastest|fastest.*balance/],
    ["[workers]"],
    ["worker = 127.0.0.1:3004-3001", /worker/],
    ["worker = 127.0.0.1:3001-3003"],
    ["worker = localhost:3002", /127\.0\.0\.1:3002/],
    ["worker = 127.0.0.1:4001 weight=0", /weight/],
    ["[timeuots]", /timeouts/],
    ["[timeouts]"],
    ["connect = 2 parsecs", /connect/],
    ["head = 10s"],
    ["head = 20s", /head/],
    ["this line has no sense", /:15/],
    ["[tls]", /not built/],
    ["[sticky]"],
    ["recover = ask", /not built/],
    ["file = /run/siolb.map", /not built/],
  ];
  const file = iniFile(t, `${lines.map(([text]) => text).join("\n")}\n`);
  for (const args of [["-t", "-c", file], ["-c", file]]) {
    const { status, stdout, stderr } = await run(t, args);
    assert.equal(status, 1, stderr);
    assert.equal(stdout, "");
    const complaints = stderr.trimEnd().split("\n");
    const mistakes = lines.map(([, about], n) => ({ at: n + 1, about })).filter(({ about }) => about);
    assert.equal(complaints.length, mistakes.length, stderr);
    mistakes.forEach(({ at, about }, n) => {
      assert.ok(complaints[n].includes(`siolb.ini:${at}:`), `${complaints[n]} is about line ${at}`);
      assert.match(complaints[n], about);
    });
  }
});

test("a file that is not there, or names no worker, is said by name", async (t) => {
  const missing = await run(t, ["-c", "/nowhere/siolb.ini"]);
  assert.equal(missing.status, 1);
  assert.match(missing.stderr, /\/nowhere\/siolb\.ini.*No such file/);
  const empty = await run(t, ["-t", "-c", iniFile(t, "")]);
  assert.equal(empty.status, 1);
  assert.match(empty.stderr, /worker/);
});

test("wrong arguments end with status 2 and a word on stderr", async (t) => {
  for (const args of [[], ["--no-such-flag"], ["-c"], ["surplus"], ["-c", "a", "-c", "b"]]) {
    const { status, stdout, stderr } = await run(t, args);
    assert.deepEqual([status, stdout], [2, ""], args.join(" "));
    assert.match(stderr, /siolb/);
  }
});

test("wrong -l and -w are complained about by their flag", async (t) => {
  const { status, stderr } = await run(t, ["-t", "-l", "127.0.0.1:70000", "-w", "3004-3001"]);
  assert.equal(status, 1);
  assert.match(stderr, /^-l: /m);
  assert.match(stderr, /^-w: /m);
});

test("-l and -w run it without a file, and win over those of a file", async (t) => {
  const [worker] = await webWorkers(t, 1);
  const bare = await siolb(t, { file: false, args: ["-l", "127.0.0.1:0", "-w", String(worker.port)] });
  assert.equal((await request(bare.url, { agent: false })).text, "w0");
  const over = await siolb(t, { workers: ["127.0.0.1:1"], args: ["-w", worker.address] });
  assert.equal((await request(over.url, { agent: false })).text, "w0");
});

test("several addresses at once, a unix socket among them, and a unix socket as worker", async (t) => {
  const directory = scratch(t);
  const [worker] = await webWorkers(t, 1);
  const front = join(directory, "front.sock");
  const lb = await siolb(t, { workers: [worker], listen: ["127.0.0.1:0", "127.0.0.1:0", `unix:${front} mode=0600`] });
  assert.equal(lb.listens.length, 3);
  for (const listen of lb.listens.slice(0, 2)) assert.equal((await request(`http://${listen}`, { agent: false })).text, "w0");
  assert.equal((await request("http://x/", { socketPath: front, agent: false })).text, "w0");

  const behind = await siolb(t, { workers: [`unix:${front}`] });
  assert.equal((await request(behind.url, { agent: false })).text, "w0");
});
