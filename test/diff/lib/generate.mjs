/**
 * Inputs: messages by the grammar, with an oddity here and there; or a seed; then mutated, more or less. Strings of
 * bytes ("latin1") all the way.
 *
 * Most inputs are nearly right: a difference needs an input that siolb lets through.
 */
import { Random } from "./random.mjs";

export const CANARY = { q: "GET /canary HTTP/1.1\r\nHost: canary\r\n\r\n", r: "HTTP/1.1 299 Canary\r\nContent-Length: 0\r\n\r\n" };
const METHODS = ["GET", "POST", "OPTIONS", "HEAD", "PUT", "DELETE", "PATCH"];
const ODD_METHODS = [
  ...["get", "GETT", "SOURCE", "M-SEARCH", "PURGE", "QUERY", "PRI", "CONNECT", "X", "", "G\tT", "GE T", "G:T", "POST\0"],
  ...["ANNOUNCE", "LINK", "ACL", "PROPFIND", "GET\x80", "'GET", "%47ET"],
];
const TARGETS = [
  ...["/socket.io/?EIO=4&transport=polling", "/socket.io/?EIO=4&transport=polling&sid=a", "/", "/chat?x=1"],
];
const ODD_TARGETS = [
  ...["*", "//", "/\xc3\xa9", "/a#b", "a", "?", "#", "/%00", "/a\tb", "/a b", "/\0", "/\x7f", "/\\", "/{}|^`\"<>", "/;"],
  ...["http://a/", "https://[::1]:80/x?y", "http://a", "HTTP://A:80", "http:///", "http://a:b/", "http://a?x", "http://a#x"],
  ...["http://u@a/", "http://a:80\\@b/", "a:80", "ws://a/", "http:/a", "/\xff?\xfe", "/?#?", "http://[::1", "http://a_b/"],
];
const ODD_VERSIONS = [
  ...["HTTP/1.0", "HTTP/1.0", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/0.9", "HTTP/1.1 ", "HTTP/11"],
  ...["HTTP/1,1", "HTTP/1.10", "HTTP/01.1", "", "HTTP/1.", "RTSP/1.0", "ICE/1.0", "HTTP/1.1\t", "XHTTP/1.1", "HTTP / 1.1"],
];
const ODD_LINE_ENDS = ["\n", "\r", "\r\r\n", "\n\r", "\0\r\n", " \r\n", "\t\r\n", "\r\n ", "\r\n\t", "\x0b\r\n", "\r \n", "\x85\r\n"];
const ODD_COLONS = [":", ": ", ":  ", ":\t", " : ", "\t:", "", ":\0", ":\r\n ", "::", " ", ":\n ", ":\x0b", ":\xa0"];
const BLANKS = ["", " ", "  ", "\t", " \t ", "\x0b", "\x0c", "\xa0", "\0", ","];
const FIELDS = [
  ...["Host: a", "Host:", "Cookie: io=a; b=c", "Origin: https://a", "Expect: 100-continue", "Accept: */*", "X-A: \xff\x80"],
  ...["TE: trailers", "Trailer: X-B", "Keep-Alive: timeout=5", "Content-Encoding: gzip", "Set-Cookie: io=a", "X_Y: 1", "X-E:"],
  ...["Content-Type: text/plain", "Proxy-Connection: close", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "A: b\tc"],
];
const ODD_FIELDS = [
  ...["Host: b", "Host: a,b", ": x", "x", "A B: c", "A\x80: b", "A\0: b", "A: b\0c", "A: b\x01", "(): a", "A@: b", "A\t: b"],
  ...["Transfer-Encoding\x00: chunked", "Transfer_Encoding: chunked", "Content_Length: 5", "Content-Length : 5", "", " A: b"],
  ...["Transfer-Encoding : chunked", "\x0bTransfer-Encoding: chunked", "X: y\rTransfer-Encoding: chunked", "'A: b", "|~!: x"],
  ...["X: y\nTransfer-Encoding: chunked", "X: y\nContent-Length: 5", "Content-Length\xa0: 5", "Content-Lengthx: 5", "A: \x7f"],
];
const CONNECTIONS = ["close", "keep-alive", "Upgrade", "keep-alive, Upgrade", "Close", "upgrade,close", "close, keep-alive"];
const ODD_CONNECTIONS = ["", ",", "clos", "closed", "close;", "\tclose", "close\t,", "upgrade x", "x upgrade", "keep-alive, , x", "Transfer-Encoding", "content-length, close", "\"close\"", "c lose"];
const UPGRADES = ["websocket", "WebSocket", "h2c", "websocket, foo", "", "TLS/1.0", "websocket/13"];
const LENGTHS = [0, 1, 5, 10, 16, 100];
const ODD_LENGTHS = [
  ...["", "+5", "-5", "5,5", "5, 5", "0x5", "05", "5.0", "5 5", "5;", "\"5\"", "9223372036854775807", "9223372036854775808"],
  ...["18446744073709551615", "18446744073709551616", "18446744073709551621", "99999999999999999999999", "1e1", "5\t", "\t5", "\xb25", "_5"],
];
const CODINGS = ["chunked", "Chunked", "CHUNKED", " chunked ", "\tchunked\t"];
const ODD_CODINGS = [
  ...["", "identity", "gzip", "gzip, chunked", "chunked, gzip", "chunked,", ",chunked", "chunked, chunked", "chunke", "xchunked"],
  ...["chunkedx", "chunked;a=b", "\"chunked\"", "\x0bchunked", "chunked\x0c", "chun\tked", "identity, chunked", "chunked\0", "\xa0chunked"],
];
const ODD_SIZES = [
  ...["", "0x5", "+5", "-5", " 5", "5 ", "5\t", "5_", "g", "5g", "00000000000000000005", "fffffffffffffffff", "ffffffffffffffff"],
  ...["7fffffffffffffff", "8000000000000000", "10000000000000005", "5,", "5.", "5\0", "\r\n5", "0 ", "00", "5\x0b"],
];
const EXTENSIONS = [";a", ";a=b", ";a=\"b;c\"", ";"];
const ODD_EXTENSIONS = [
  ...["; a", ";a =b", ";a= b", ";=b", ";a=", ";;", ";a=\"b", ";a=\"\\\"\"", ";a\n", ";\0", ";a\x7f", " ;a", ";a\r", ";\xff", ";a=\"\n\"", ";a=b c"],
  ...[";a=\"\r", ";a,b", ";a;b=c", ";a\t", ";\"a\"", ";a=b\"", ";5\n", ";x\r\n"],
];
const TRAILERS = ["X-B: c", "Expires: 0", "E:", "X-C:\td "];
const ODD_TRAILERS = [
  ...["Content-Length: 5", "Transfer-Encoding: chunked", "Connection: close", "Connection: upgrade", "Upgrade: websocket", "Host: b"],
  ...["x", ": x", "A : b", " A: b", "A: b\nC: d", "A\0: b", "A: \0", "GET / HTTP/1.1", "A: b\r", "Content-Length: x", "X: y\n", "A\x80: b"],
];
const STATUSES = ["200 OK", "200", "200 ", "400 Bad Request", "204 No Content", "304 Not Modified", "500 \xff", "999 x", "205 x"];
const INTERIM = ["100 Continue", "103 Early Hints", "102", "199 x"];
const ODD_STATUSES = ["101 Switching Protocols", "099 x", "20 x", "2000", "-20 x", "200OK", "200\tOK", " 200 OK", "600 x", "100", "+20", "000 x", "2 0", "200 \0", "20\xb2", "200  x", "200 a\tb"];
const BYTES = ["\0", "\t", "\n", "\r", "\r\n", "\r\n\r\n", " ", "!", "\"", "#", ",", "-", "0", "5", ":", ";", "=", "a", "\x7f", "\x80", "\xff", "\x0b", "\x0c", "\x1f"];

class Writer {
  constructor(random, kind) {
    this.random = random;
    this.kind = kind;
    /* how often something is odd: never in every third input */
    this.every = random.pick([0, 0, 60, 30, 30, 10]);
  }

  isOdd() {
    return this.every > 0 && this.random.once(this.every);
  }

  pick(usual, odd) {
    return this.random.pick(this.isOdd() ? odd : usual);
  }

  lineEnd() {
    return this.pick(["\r\n"], ODD_LINE_ENDS);
  }

  field(name, value) {
    const blanks = this.isOdd() ? this.random.pick(BLANKS) : "";
    const cased = this.random.once(4) ? this.random.pick([name.toLowerCase(), name.toUpperCase()]) : name;
    return cased + this.pick([": ", ": ", ":"], ODD_COLONS) + value + blanks;
  }

  payload(length) {
    const { random } = this;
    const text = random.pick(["x", "ab\r\n", CANARY[this.kind], "0\r\n\r\n", "\0", "5\r\n"]);
    return text.repeat(Math.ceil(length / text.length)).slice(0, length);
  }

  chunk(length) {
    const { random } = this;
    const digits = length.toString(16);
    const size = this.isOdd() ? random.pick(ODD_SIZES) : random.pick([digits, digits.toUpperCase(), `0${digits}`]);
    const extension = random.once(6) ? this.pick(EXTENSIONS, ODD_EXTENSIONS) : "";
    const rest = length ? this.payload(length) + this.lineEnd() : "";
    return size + extension + this.lineEnd() + rest;
  }

  chunks() {
    const { random } = this;
    let text = "";
    for (let n = random.below(4); n > 0; n--) text += this.chunk(random.pick(LENGTHS) || 1);
    if (this.isOdd()) return text;
    text += this.chunk(0);
    for (let n = random.once(3) ? random.below(3) : 0; n > 0; n--) text += this.pick(TRAILERS, ODD_TRAILERS) + this.lineEnd();
    return text + this.lineEnd();
  }

  /** The fields that tell the framing, and the body. */
  framing() {
    const { random } = this;
    const fields = [];
    let body = "";
    switch (random.below(5)) {
      case 0:
      case 1:
        fields.push(this.field("Transfer-Encoding", this.pick(CODINGS, ODD_CODINGS)));
        body = this.chunks();
        break;
      case 2:
      case 3: {
        const length = random.pick(LENGTHS);
        fields.push(this.field("Content-Length", this.pick([String(length)], ODD_LENGTHS)));
        body = this.payload(length);
        break;
      }
      default:
        body = this.kind === "r" || this.isOdd() ? this.payload(random.pick(LENGTHS)) : "";
    }
    if (this.isOdd()) fields.push(this.field("Content-Length", String(random.pick(LENGTHS))));
    if (this.isOdd()) fields.push(this.field("Transfer-Encoding", random.pick([...CODINGS, ...ODD_CODINGS])));
    if (this.isOdd()) fields.push(random.pick(fields));
    return { fields, body };
  }

  fields() {
    const { random } = this;
    const fields = this.kind === "q" && !this.isOdd() ? ["Host: a"] : [];
    for (let n = random.below(4); n > 0; n--) fields.push(this.pick(FIELDS.slice(2), [...FIELDS, ...ODD_FIELDS]));
    if (random.once(5)) fields.push(this.field("Connection", this.pick(CONNECTIONS, ODD_CONNECTIONS)));
    if (random.once(12)) fields.push(this.field("Upgrade", random.pick(UPGRADES)), this.field("Connection", "Upgrade"));
    return fields;
  }

  shuffled(list) {
    const all = [...list];
    for (let i = all.length - 1; i > 0; i--) {
      const j = this.random.below(i + 1);
      [all[i], all[j]] = [all[j], all[i]];
    }
    return all;
  }

  blank() {
    return this.pick([" "], ["  ", "\t", "", " \t", "\x0b", "\xa0", "\0", "\r"]);
  }

  requestLine() {
    const method = this.pick(METHODS, ODD_METHODS);
    const target = this.pick(TARGETS, ODD_TARGETS);
    const emptyLines = this.random.once(12) ? this.lineEnd().repeat(this.random.below(4)) : "";
    return emptyLines + method + this.blank() + target + this.blank() + this.pick(["HTTP/1.1"], ODD_VERSIONS);
  }

  statusLine(isInterim) {
    const status = this.pick(isInterim ? INTERIM : STATUSES, ODD_STATUSES);
    return this.pick(["HTTP/1.1"], ODD_VERSIONS) + this.blank() + status;
  }

  head(firstLine, fields) {
    return [firstLine, ...this.shuffled(fields), ""].map((line) => line + this.lineEnd()).join("");
  }

  request() {
    const { fields, body } = this.framing();
    return this.head(this.requestLine(), [...this.fields(), ...fields]) + body;
  }

  answer() {
    let text = "";
    for (let n = this.random.once(6) ? this.random.below(4) : 0; n > 0; n--) {
      const { fields, body } = this.isOdd() ? this.framing() : { fields: [], body: "" };
      text += this.head(this.statusLine(true), [...this.fields(), ...fields]) + body;
    }
    const { fields, body } = this.framing();
    return text + this.head(this.statusLine(false), [...this.fields(), ...fields]) + body;
  }

  input() {
    if (this.kind === "r") return this.answer();
    let text = this.request();
    while (this.random.once(3)) text += this.request();
    return text;
  }
}

/* --- mutations: text in, text out --- */

const between = (random, text) => random.below(text.length + 1);

const lineStart = (text, at) => text.lastIndexOf("\n", at - 1) + 1;

function lineAt(random, text) {
  const start = lineStart(text, between(random, text));
  const end = text.indexOf("\n", start) + 1 || text.length;
  return [start, end];
}

const MUTATIONS = [
  function insert(random, text) {
    const at = between(random, text);
    return text.slice(0, at) + random.pick(BYTES) + text.slice(at);
  },
  function replace(random, text) {
    const at = between(random, text);
    return text.slice(0, at) + random.pick(BYTES) + text.slice(at + 1);
  },
  function remove(random, text) {
    const at = between(random, text);
    return text.slice(0, at) + text.slice(at + 1 + random.below(3));
  },
  function flip(random, text) {
    const at = between(random, text);
    if (at === text.length) return text;
    return text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ (1 << random.below(8))) + text.slice(at + 1);
  },
  function truncate(random, text) {
    return text.slice(0, between(random, text));
  },
  function repeatLine(random, text) {
    const [start, end] = lineAt(random, text);
    return text.slice(0, end) + text.slice(start, end) + text.slice(end);
  },
  function removeLine(random, text) {
    const [start, end] = lineAt(random, text);
    return text.slice(0, start) + text.slice(end);
  },
  function moveLine(random, text) {
    const [start, end] = lineAt(random, text);
    const rest = text.slice(0, start) + text.slice(end);
    const at = lineStart(rest, between(random, rest));
    return rest.slice(0, at) + text.slice(start, end) + rest.slice(at);
  },
  function changeCase(random, text) {
    const [start, end] = lineAt(random, text);
    const line = text.slice(start, end);
    return text.slice(0, start) + (random.once(2) ? line.toUpperCase() : line.toLowerCase()) + text.slice(end);
  },
  function changeLineEnd(random, text) {
    const [, end] = lineAt(random, text);
    const from = text[end - 2] === "\r" ? end - 2 : Math.max(0, end - 1);
    return text.slice(0, from) + random.pick(ODD_LINE_ENDS) + text.slice(end);
  },
  function changeNumber(random, text) {
    const numbers = [...text.matchAll(/\d+/g)];
    if (numbers.length === 0) return text;
    const number = random.pick(numbers);
    const other = random.pick([Number(number[0]) + 1, Math.max(0, Number(number[0]) - 1), ...ODD_LENGTHS, ...ODD_SIZES]);
    return text.slice(0, number.index) + other + text.slice(number.index + number[0].length);
  },
  function insertField(random, text) {
    const at = lineStart(text, between(random, text));
    const field = random.pick([
      `Content-Length: ${random.pick([...LENGTHS, ...ODD_LENGTHS])}`,
      `Transfer-Encoding: ${random.pick([...CODINGS, ...ODD_CODINGS])}`,
      ...FIELDS,
      ...ODD_FIELDS,
    ]);
    return `${text.slice(0, at)}${field}\r\n${text.slice(at)}`;
  },
  function pad(random, text) {
    const at = between(random, text);
    const times = 1 << random.below(random.once(8) ? 15 : 8);
    return text.slice(0, at) + random.pick(["0", "a", " ", "\t", "a: b\r\n"]).repeat(times) + text.slice(at);
  },
];

function splice(random, one, other) {
  return one.slice(0, between(random, one)) + other.slice(between(random, other));
}

/**
 * Input `number` of `seed`. `kind`: "q" for requests, "r" for answers; `seeds`: texts to begin with now and then.
 */
export function makeInput(kind, seed, number, seeds) {
  const random = new Random(seed, number);
  const writer = new Writer(random, kind);
  const base = () => (seeds.length > 0 && random.once(4) ? random.pick(seeds) : writer.input());
  let text = base();
  if (random.once(20)) text = splice(random, text, base());
  if (!random.once(4)) text += CANARY[kind];
  if (random.once(2)) for (let n = 1 + random.below(4); n > 0; n--) text = random.pick(MUTATIONS)(random, text);
  return { kind, asked: random.pick(["G", "G", "P", "H", "O"]), bytes: Buffer.from(text, "latin1") };
}
