/**
 * The property: whatever siolb lets through, Node cuts into the same messages at the same bytes.
 *
 * Node is fed in pieces that end where siolb says that a head or a message ends, and one byte before: so it has to see
 * the end with exactly that byte. Behind what siolb refuses nothing is sent on, so nothing is compared there. Where siolb
 * waits for more, Node must wait too.
 *
 * Node may refuse what siolb lets through: then it closes the connection, and nobody is fooled. But only for the reasons
 * in MAY_REFUSE; another one is a difference like any other.
 */
import http from "node:http";
import { LAX, METHODS, Peer, STRICT, STUCK } from "./peer.mjs";

const methodOf = ({ head }) => head.split(" ", 1)[0];
const targetOf = ({ head }) => head.split(" ", 2)[1];
const hasExtension = ({ body }) => body.includes(";");

/**
 * What Node alone may refuse: error codes of llhttp, by where it met them, each with what then has to be true of the
 * message: `head` and `body` are its bytes, `before` those of the ones before it on the connection.
 */
const BODIES = {
  /* a chunk extension that is no name=value */
  HPE_STRICT: hasExtension,
  /* the trailers count with the head */
  HPE_HEADER_OVERFLOW: ({ head, body }) => head.length + body.length > http.maxHeaderSize,
};
const MAY_REFUSE = {
  q: {
    head: {
      /* a method that it does not know, or that belongs to RTSP or ICE */
      HPE_INVALID_METHOD: (m) => !METHODS.includes(methodOf(m)),
      HPE_INVALID_CONSTANT: (m) => METHODS.includes(methodOf(m)) && !http.METHODS.includes(methodOf(m)),
      /* bytes over 0x7f; a fragment or an empty path in an absolute target */
      HPE_INVALID_URL: (m) => /[\x80-\xff]|^https?:/i.test(targetOf(m)),
    },
    body: {
      ...BODIES,
      [STUCK]: (m) => /\nupgrade:/i.test(m.head) && Object.values(BODIES).some((is) => is(m)),
    },
  },
  r: {
    head: {
      /* a 1xx was the last one */
      HPE_CLOSED_CONNECTION: ({ before }) => /^HTTP\/1\.[01] 1/.test(before),
    },
    body: BODIES,
  },
};

class Difference {
  constructor(what) {
    this.what = what;
  }
}

function demand(is, what) {
  if (!is) throw new Difference(what());
}

/** Thrown when a peer refuses for a listed reason: the rest of its view does not matter. */
class Refusal {
  constructor(name) {
    this.name = name;
  }
}

/** One peer's view of one input. */
class View {
  constructor(peer, { kind, asked, bytes }) {
    Object.assign(this, { peer, kind, asked, bytes, at: 0 });
  }

  connect(at) {
    this.peer.connect(this.kind, this.asked);
    this.at = this.connected = at;
  }

  feed(to, where) {
    const seen = this.peer.feed(this.bytes.subarray(this.at, to));
    this.at = to;
    if (!seen.error) return seen;
    const may = MAY_REFUSE[this.kind][where][seen.error];
    demand(may?.(this.#texts()), () => `refuses with ${seen.error} in a ${where}`);
    throw new Refusal(`${where} ${seen.error}`);
  }

  #texts() {
    const { start, head, end } = this.message;
    const text = (from, to) => this.bytes.toString("latin1", from, to);
    return { before: text(this.connected, start), head: text(start, head), body: text(head, end) };
  }

  quiet(to, where, what) {
    const seen = this.feed(to, where);
    demand(seen.heads.length === 0 && seen.wholes === 0, () => `is done before siolb: ${what}`);
    return seen.payload;
  }

  /** The head of `m`; what Node made of it. */
  head(m, number) {
    this.quiet(m.head - 1, "head", `head ${number}`);
    const seen = this.feed(m.head, "head");
    demand(seen.heads.length === 1, () => `has no head where head ${number} ends`);
    const [head] = seen.heads;
    if (this.kind === "q") {
      const [method, target] = this.bytes.toString("latin1", m.start, m.head).split(" ", 2);
      demand(head.method === method, () => `reads method ${head.method} in head ${number}`);
      demand(head.target === target, () => `reads target ${head.target} in head ${number}`);
    } else {
      const status = Number(this.bytes.toString("latin1", m.start + 9, m.start + 12));
      demand(head.status === status, () => `reads status ${head.status} in head ${number}`);
    }
    demand(head.fields === m.fields, () => `reads ${head.fields} fields in head ${number}, siolb ${m.fields}`);
    demand(head.text === m.text, () => `reads ${head.text} bytes of fields in head ${number}, siolb ${m.text}`);
    return { isUpgrade: head.isUpgrade, isWhole: seen.wholes === 1 };
  }

  body(m, number) {
    let payload = this.quiet(m.isWhole ? m.end - 1 : m.end, "body", `body ${number}`);
    if (m.isWhole) {
      const seen = this.feed(m.end, "body");
      demand(seen.wholes === 1 && seen.heads.length === 0, () => `sees no end where body ${number} ends`);
      payload += seen.payload;
    }
    demand(payload === m.payload, () => `has ${payload} bytes of body ${number}, siolb ${m.payload}`);
  }

  /** True: what follows on this connection is no HTTP to the peer. */
  take(m, number) {
    this.message = m;
    const { isUpgrade, isWhole } = this.head(m, number);
    if (isUpgrade && (this.kind === "r" || this.peer.takesUpgrades)) return true;
    const hasBody = !m.isWhole || m.end > m.head;
    demand(isWhole === !hasBody, () => `${isWhole ? "expects no" : "expects a"} body behind head ${number}`);
    if (hasBody) this.body(m, number);
    return false;
  }

  /** The end of the connection behind the last byte of an unfinished message. */
  end(m) {
    const seen = this.peer.finish();
    const isWhole = seen.wholes === 1;
    demand(isWhole === m.endsAtClose, () => `${isWhole ? "takes" : "does not take"} the close for the end`);
  }

  all({ messages, end }) {
    this.connect(0);
    for (const [number, m] of messages.entries()) {
      const isRaw = this.take(m, number);
      if (isRaw && (this.kind === "r" || !m.isWhole)) return;
      if (!m.isWhole) return end === "more" ? this.end(m) : undefined;
      // with an Upgrade field a request is the last one on its upstream connection, whatever the answer is
      if (m.hasUpgrade && this.kind === "q") this.connect(m.end);
    }
    if (end !== "more") return;
    // Node may refuse at once what siolb will refuse when the line is whole
    const seen = this.peer.feed(this.bytes.subarray(this.at));
    demand(seen.heads.length === 0, () => "has a head where siolb has none");
  }
}

const PEERS = [
  { name: "Node", takesUpgrades: true, leniency: STRICT },
  { name: "Node without upgrades", takesUpgrades: false, leniency: STRICT },
  { name: "Node with insecureHTTPParser", takesUpgrades: true, leniency: LAX },
].map((p) => ({ ...p, peer: new Peer(p.leniency, p.takesUpgrades) }));

/**
 * Every peer against siolb's verdict on `input`. The first difference as text, undefined when there is none; `refused`
 * is told the name of each refusal that is none.
 */
export function difference(input, verdict, refused = () => {}) {
  for (const { name, peer } of PEERS) {
    if (input.kind === "r" && !peer.takesUpgrades) continue; // servers only
    try {
      new View(peer, input).all(verdict);
    } catch (thrown) {
      if (thrown instanceof Refusal) refused(`${name}: ${thrown.name}`);
      else if (thrown instanceof Difference) return `${name} ${thrown.what}`;
      else throw thrown;
    }
  }
  return undefined;
}
