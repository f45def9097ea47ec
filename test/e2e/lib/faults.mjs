/*
 * faults - siolb with test/fault/shim.c between it and the kernel: which call fails, how often, with what.
 *
 *   const { lb, faults } = await faultySiolb(t, { workers });
 *   faults.plan("send", { at: 3, errors: ["EPIPE"] });     the third send from now on fails
 *   faults.plan("recv", { limit: 1 });                      one byte at a time
 *   faults.seen("send")  faults.hits("send")                since the last clear()
 *   faults.clear();                                         nothing fails, all counts begin anew
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readSync, writeFileSync, writeSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join } from "node:path";

import { defer, within } from "./defer.mjs";
import { binary, iniOf, scratch, siolb } from "./siolb.mjs";

export const faulty_binary = join(dirname(binary), "fault", "siolb");

/* struct table and struct plan of shim.c */
const TABLE_BYTES = 16;
const PLAN_BYTES = 80;
const NAME_BYTES = 16;
const ERRORS_MAX = 8;
const START_MS = 30_000;
const FIELDS = ["seen", "hits", "at", "times", "every", "odds", "limit"];

class Faults {
  #file;
  #calls = new Map(); /* name: its place in the table */

  constructor(file) {
    this.#file = file;
    const count = this.#read(0, 4).readUInt32LE();
    for (let n = 0; n < count; n++) {
      const at = TABLE_BYTES + n * PLAN_BYTES;
      this.#calls.set(this.#read(at, NAME_BYTES).toString("latin1").replace(/\0+$/, ""), at);
    }
    assert.ok(count > 0 && this.#calls.size === count, "the shim has filled its table");
  }

  #read(at, bytes) {
    const buffer = Buffer.alloc(bytes);
    readSync(this.#file, buffer, 0, bytes, at);
    return buffer;
  }

  #field(call, field) {
    assert.ok(this.#calls.has(call), `the shim knows ${call}`);
    return this.#read(this.#calls.get(call) + NAME_BYTES + 4 * FIELDS.indexOf(field), 4).readUInt32LE();
  }

  /** Calls since this call was planned, or all were cleared. */
  seen(call) {
    return this.#field(call, "seen");
  }

  /** ... and how many of them were made to fail. */
  hits(call) {
    return this.#field(call, "hits");
  }

  /** { call: how often it was seen } */
  counts() {
    return Object.fromEntries([...this.#calls.keys()].map((call) => [call, this.seen(call)]));
  }

  /** Blocks of the heap that are in use, counted from the start on. */
  get blocks() {
    return Number(this.#read(8, 8).readBigInt64LE());
  }

  /** The `at`-th call from now on fails, and `times` in all (1); each `every`-th; one in `odds`, by chance. With one of
   * `errors`. It moves at most `limit` bytes. */
  plan(call, { errors = [], ...fields }) {
    assert.ok(this.#calls.has(call), `the shim knows ${call}`);
    const numbers = { times: 1, ...fields };
    const row = Buffer.alloc(PLAN_BYTES - NAME_BYTES);
    FIELDS.forEach((field, n) => row.writeUInt32LE(numbers[field] ?? 0, 4 * n));
    assert.ok(errors.length <= ERRORS_MAX);
    errors.forEach((name, n) => row.writeInt32LE(constants.errno[name] ?? assert.fail(name), 4 * (FIELDS.length + n)));
    writeSync(this.#file, row, 0, row.length, this.#calls.get(call) + NAME_BYTES);
  }

  clear() {
    for (const call of this.#calls.keys()) this.plan(call, {});
  }

  /** Where the generator behind `odds` begins. */
  set seed(seed) {
    const word = Buffer.alloc(4);
    word.writeUInt32LE(seed || 1);
    writeSync(this.#file, word, 0, 4, 4);
  }
}

/** siolb(t, options) and its faults: { lb, faults }. */
export async function faultySiolb(t, options) {
  const file = join(scratch(t), "faults");
  const lb = await siolb(t, { ...options, program: faulty_binary, prefix: ["env", `SIOLB_FAULT_FILE=${file}`] });
  const open = openSync(file, "r+");
  defer(t, () => closeSync(open));
  return { lb, faults: new Faults(open) };
}

/** Start siolb with `plan` (SIOLB_FAULT) and end it when it is ready, if it gets so far: { status, signal, text, is_ready,
 * counts }; `text` is all that it says, `counts` the calls that a start makes. */
export async function startFaulty(t, plan) {
  const directory = scratch(t);
  const [ini, file] = ["siolb.ini", "faults"].map((name) => join(directory, name));
  writeFileSync(ini, iniOf({ proxy: { listen: "127.0.0.1:0" }, workers: { worker: "127.0.0.1:1-3" } }));
  const child = spawn(faulty_binary, ["-c", ini], {
    env: { ...process.env, SIOLB_FAULT: plan, SIOLB_FAULT_FILE: file },
    stdio: ["ignore", "ignore", "pipe"],
  });
  defer(t, () => child.exitCode ?? child.kill("SIGKILL"));
  let text = "";
  let is_ready = false;
  child.stderr.setEncoding("utf8").on("data", (some) => {
    text += some;
    if (is_ready || !text.includes(" ready ")) return;
    is_ready = true;
    child.kill("SIGTERM");
  });
  const [status, signal] = await within(START_MS, `a start with ${plan} to end`, once(child, "close"));
  const table = openSync(file, "r+");
  const counts = new Faults(table).counts();
  closeSync(table);
  return { status, signal, text, is_ready, counts };
}
