/*
 * log - siolb's log lines: `2026-11-22T22:40:40.123Z info ready listen=127.0.0.1:40123 workers=4`, or one JSON object.
 */
const HEAD =
  /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (?:(error|warn|info|debug) )?([^\s=]+(?: [^\s=]+)*)(?: ((?:\S+=).*))?\s*$/;
const PAIR = /(?:^| )([A-Za-z_][\w.-]*)=("[^"]*"|\S*)/g;
const ESCAPED = /\\x([0-9a-f]{2})/g;

/* Quotes surround our own words; what came from outside is escaped. */
function value(text) {
  const bare = text.startsWith('"') ? text.slice(1, -1) : text;
  return bare.replace(ESCAPED, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
}

/**
 * One line as an object: `text` is the line, `time`, `level` (none in the access log) and `event` its first words
 * (undefined when it is no log line at all), and every key=value pair under its own name, as a string without escapes
 * (JSON keeps its types).
 */
export function parseLine(text) {
  if (text.startsWith("{")) {
    try {
      return { ...JSON.parse(text), text };
    } catch {
      return { text };
    }
  }
  const [, time, level, event, rest = ""] = HEAD.exec(text) ?? [];
  if (!event) return { text };
  const line = {};
  for (const [, key, escaped] of rest.matchAll(PAIR)) line[key] = value(escaped);
  return { ...line, text, time, level, event };
}

/** Lines of a stream as they come; `lines` grows, `wait` resolves with the first line that fits. */
export class Log {
  lines = [];
  ended = false;
  #waiting = new Set();
  #rest = "";

  constructor(stream) {
    stream.setEncoding("utf8");
    stream.on("data", (chunk) => {
      const parts = (this.#rest + chunk).split("\n");
      this.#rest = parts.pop();
      for (const part of parts) this.#add(part);
    });
    stream.on("close", () => {
      if (this.#rest) this.#add(this.#rest);
      this.ended = true;
      for (const { reject, what } of this.#waiting) reject(new Error(`log ended without ${what}`));
      this.#waiting.clear();
    });
  }

  #add(text) {
    if (text === "") return;
    const line = parseLine(text);
    this.lines.push(line);
    for (const waiter of this.#waiting) {
      if (!waiter.fits(line)) continue;
      this.#waiting.delete(waiter);
      waiter.resolve(line);
    }
  }

  /** The first line, from number `from` on, that `fits`; also one that is there already. */
  wait(fits, from = 0) {
    const known = this.lines.slice(from).find(fits);
    if (known) return Promise.resolve(known);
    const what = `a line that fits ${fits}`;
    if (this.ended) return Promise.reject(new Error(`log ended without ${what}`));
    return new Promise((resolve, reject) => this.#waiting.add({ fits, resolve, reject, what }));
  }
}
