/**
 * Differential fuzzing of siolb's HTTP parsers against the one of this machine's Node (see lib/compare.mjs).
 *
 *   node diff.mjs request|response
 *
 * The seeds first, as they are, then random inputs for DIFF_S seconds (10), at most DIFF_COUNT of them. DIFF_SEED
 * repeats a run; DIFF_FIRST begins at one of its random inputs. FRAMES names the harness, DIFF_WRONG makes it lie. Ends
 * with 1 and the shortest such input that it could make when there is a difference.
 */
import { readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { difference } from "./lib/compare.mjs";
import { Frames } from "./lib/frames.mjs";
import { makeInput } from "./lib/generate.mjs";
import { minimise } from "./lib/minimise.mjs";

const HERE = import.meta.dirname;
const BATCH = 256;
/* fewer than one of so many inputs let through: the inputs are too odd to tell anything */
const LET_THROUGH_MIN = 0.2;

const KINDS = {
  request: { kind: "q", folders: ["seeds/request", "../fuzz/corpus/request_head"] },
  response: { kind: "r", folders: ["seeds/response", "../fuzz/corpus/response_head"] },
};

function readSeeds(folders) {
  return folders
    .flatMap((folder) => readdirSync(join(HERE, folder)).map((name) => join(HERE, folder, name)))
    .filter((path) => statSync(path).isFile())
    .sort()
    .map((path) => readFileSync(path, "latin1"));
}

class Run {
  inputs = 0;
  letThrough = 0;
  messages = 0;
  refusals = new Map();

  constructor(frames) {
    this.frames = frames;
  }

  #note(verdict) {
    this.inputs++;
    this.messages += verdict.messages.length;
    if (verdict.messages.length > 0) this.letThrough++;
  }

  /** The first of `inputs` that is cut differently: { input, what }; undefined: none is. */
  async judge(inputs) {
    const verdicts = await this.frames.judge(inputs);
    for (const [i, verdict] of verdicts.entries()) {
      this.#note(verdict);
      const what = difference(inputs[i], verdict, (name) => this.refusals.set(name, (this.refusals.get(name) ?? 0) + 1));
      if (what) return { input: inputs[i], what };
    }
    return undefined;
  }

  summary() {
    const refusals = [...this.refusals].sort().map(([name, count]) => `\n  ${count} x ${name}`);
    return (
      `${this.inputs} inputs, ${this.letThrough} let through, ${this.messages} messages cut alike` +
      (refusals.length > 0 ? `; refused by Node alone:${refusals.join("")}` : "")
    );
  }
}

function tell(name, verdict, what, bytes) {
  console.error(`\n${name}: ${what}`);
  console.error(`siolb: ${JSON.stringify(verdict.messages)} then ${verdict.end}`);
  console.error(`input: ${JSON.stringify(bytes.toString("latin1"))}`);
}

async function explain(frames, { input, what }, where) {
  const [verdict] = await frames.judge([input]);
  tell(`difference (${where}, asked ${input.asked})`, verdict, what, input.bytes);
  const shorter = await minimise(input, async (inputs) => {
    const verdicts = await frames.judge(inputs);
    return inputs.findIndex((candidate, i) => difference(candidate, verdicts[i]));
  });
  const [again] = await frames.judge([shorter]);
  tell("minimised", again, difference(shorter, again), shorter.bytes);
}

async function main(direction) {
  const { kind, folders } = KINDS[direction];
  const seconds = Number(process.env.DIFF_S ?? 10);
  const seed = Number(process.env.DIFF_SEED ?? (Date.now() ^ process.pid) >>> 0);
  const first = Number(process.env.DIFF_FIRST ?? 0);
  const last = first + Number(process.env.DIFF_COUNT ?? Infinity);
  const frames = new Frames(process.env.FRAMES, process.env.DIFF_WRONG);
  const run = new Run(frames);
  const seeds = readSeeds(folders);

  console.log(`diff ${direction}: DIFF_SEED=${seed}, ${seeds.length} seeds`);
  const plain = process.env.DIFF_FIRST ? [] : seeds;
  let found = await run.judge(plain.map((text) => ({ kind, asked: "G", bytes: Buffer.from(text, "latin1") })));
  let where = "a seed";
  const until = performance.now() + seconds * 1000;
  for (let number = first; !found && number < last && performance.now() < until; number += BATCH) {
    const inputs = [];
    for (let n = number; n < Math.min(number + BATCH, last); n++) inputs.push(makeInput(kind, seed, n, seeds));
    found = await run.judge(inputs);
    if (found) where = `DIFF_SEED=${seed} DIFF_FIRST=${number + inputs.indexOf(found.input)} DIFF_COUNT=1`;
  }
  console.log(`diff ${direction}: ${run.summary()}`);
  if (found) await explain(frames, found, where);
  frames.end();
  const isBlunt = run.inputs > 1000 && run.letThrough < LET_THROUGH_MIN * run.inputs;
  if (isBlunt) console.error("too few inputs were let through: this proves nothing");
  return found || isBlunt ? 1 : 0;
}

process.exitCode = await main(process.argv[2]);
