/**
 * The harness (frames.c) as a child: inputs in, siolb's verdicts out.
 *
 * An input is { kind: "q" | "r", asked: "G" | "H" | "P" | "O", bytes: Buffer }; a verdict is { messages, end }, both as
 * frames.c tells them.
 */
import { spawn } from "node:child_process";

function wire(inputs) {
  const pieces = [];
  for (const { kind, asked, bytes } of inputs) {
    const head = Buffer.alloc(6);
    head.write(kind + asked, "latin1");
    head.writeUInt32LE(bytes.length, 2);
    pieces.push(head, bytes);
  }
  pieces.push(Buffer.from("ff\0\0\0\0", "latin1"));
  return Buffer.concat(pieces);
}

function message(text) {
  const [start, head, end, payload, fields, bytes, flags] = text.split(":");
  return {
    start: Number(start),
    head: Number(head),
    end: Number(end),
    payload: Number(payload),
    fields: Number(fields),
    text: Number(bytes),
    isWhole: flags.includes("w"),
    isPersistent: flags.includes("p"),
    hasUpgrade: flags.includes("u"),
    endsAtClose: flags.includes("c"),
  };
}

function verdict(line) {
  const words = line.split(" ");
  const end = words.pop();
  if (!/^(more|refused|over)$/.test(end)) throw new Error(`frames said: ${line}`);
  return { messages: words.map(message), end };
}

export class Frames {
  #child;
  #unread = "";
  #wanted = 0;
  #settle;

  /** `wrong`: the lie that frames.c shall tell; none by default. */
  constructor(program, wrong) {
    this.#child = spawn(program, wrong ? [`--wrong=${wrong}`] : [], { stdio: ["pipe", "pipe", "inherit"] });
    this.#child.stdout.setEncoding("latin1").on("data", (text) => this.#read(text));
    this.#child.stdin.on("error", () => {}); // its end tells more
    this.#child.on("error", (error) => this.#fail(error));
    this.#child.on("exit", (code, signal) => this.#fail(new Error(`frames ended: ${signal ?? code}`)));
  }

  #read(text) {
    this.#unread += text;
    if (!this.#settle || this.#unread.split("\n").length <= this.#wanted) return;
    const lines = this.#unread.split("\n");
    this.#unread = lines.pop();
    const { resolve, reject } = this.#settle;
    this.#settle = undefined;
    try {
      resolve(lines.map(verdict));
    } catch (error) {
      reject(error);
    }
  }

  #fail(error) {
    this.#settle?.reject(error);
    this.#settle = undefined;
  }

  /** Verdicts on `inputs`, in their order; one call at a time. */
  judge(inputs) {
    if (inputs.length === 0) return Promise.resolve([]);
    this.#wanted = inputs.length;
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#child.stdin.write(wire(inputs));
    });
  }

  end() {
    this.#settle = undefined;
    this.#child.stdin.end();
  }
}
