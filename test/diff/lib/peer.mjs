/**
 * Node's HTTP parser, set up as its http.Server and its http client do (diff.test.mjs compares it with real ones), and
 * fed piece by piece: after each piece it tells what it has seen in it.
 */
import { createRequire } from "node:module";

const { HTTPParser } = createRequire(import.meta.url)("_http_common");

function parserMethods() {
  process.noDeprecation = true; // there is no other way to it
  const { allMethods } = process.binding("http_parser");
  process.noDeprecation = false;
  return allMethods;
}

/** All methods that the parser knows, by its numbers: http.METHODS lacks those that belong to other protocols. */
export const METHODS = parserMethods();

/** By DESIGN a worker or client may be laxer than Node's default: these read what `insecureHTTPParser` does. */
export const STRICT = HTTPParser.kLenientNone;
export const LAX = HTTPParser.kLenientAll;

/** An error that Node keeps to itself: it reads nothing more, without a word. */
export const STUCK = "stuck";

const MAX_HEADER_BYTES = 0; // 0: the default, as in http.Server
const SKIP_BODY = 1;
const UPGRADE = 2;

/** One end that reads requests or answers, one connection after the other. */
export class Peer {
  #parser = new HTTPParser();
  #leniency;
  takesUpgrades;
  #isBehindHead;
  #seen;
  #fields = [];
  #target = "";

  /** `takesUpgrades`: as a server with a listener for "upgrade" (Engine.IO has one). */
  constructor(leniency, takesUpgrades) {
    this.#leniency = leniency;
    this.takesUpgrades = takesUpgrades;
  }

  /** A new connection. `kind`: "q", it is a server; "r", a client that has asked with the method of the letter `asked`. */
  connect(kind, asked) {
    const parser = this.#parser;
    this.#isBehindHead = false;
    this.#fields = [];
    this.#target = "";
    parser.initialize(kind === "q" ? HTTPParser.REQUEST : HTTPParser.RESPONSE, {}, MAX_HEADER_BYTES, this.#leniency);
    parser[HTTPParser.kOnHeaders] = (fields, target) => {
      if (this.#isBehindHead) return; // trailers
      this.#fields.push(...fields);
      this.#target += target;
    };
    parser[HTTPParser.kOnHeadersComplete] = (major, minor, fields, method, target, status, phrase, upgrade) => {
      const all = fields ?? this.#fields;
      this.#seen.heads.push({
        method: METHODS[method],
        target: target ?? this.#target,
        status,
        fields: all.length / 2,
        text: all.reduce((sum, text) => sum + text.length, 0),
        isUpgrade: upgrade,
      });
      this.#isBehindHead = true;
      this.#fields = [];
      this.#target = "";
      return kind === "q" ? this.#afterRequestHead(upgrade) : Peer.#afterAnswerHead(status, upgrade, asked);
    };
    parser[HTTPParser.kOnBody] = (bytes) => {
      this.#seen.payload += bytes.length;
    };
    parser[HTTPParser.kOnMessageComplete] = () => {
      this.#isBehindHead = false;
      this.#seen.wholes++;
    };
  }

  // parserOnIncoming() of _http_server
  #afterRequestHead(upgrade) {
    return upgrade && this.takesUpgrades ? UPGRADE : 0;
  }

  // parserOnIncomingClient() of _http_client
  static #afterAnswerHead(status, upgrade, asked) {
    if (upgrade) return UPGRADE;
    return (status >= 100 && status < 200) || asked === "H" || status === 304 ? SKIP_BODY : 0;
  }

  /** The next bytes of the connection: { heads, payload, wholes, error } of what was in them. */
  feed(bytes) {
    this.#seen = { heads: [], payload: 0, wholes: 0, error: undefined };
    if (bytes.length === 0) return this.#seen; // to the parser that would be the end
    const result = this.#parser.execute(bytes);
    if (result instanceof Error) this.#seen.error = result.code;
    else if (result < bytes.length) this.#seen.error = STUCK;
    return this.#seen;
  }

  /** The connection ends. */
  finish() {
    this.#seen = { heads: [], payload: 0, wholes: 0, error: undefined };
    const result = this.#parser.finish();
    if (result instanceof Error) this.#seen.error = result.code;
    return this.#seen;
  }
}
