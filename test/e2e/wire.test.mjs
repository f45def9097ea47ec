/* The table of wire cases (test/wire): every rule of what is refused, passed, pooled and retried, one row after the
 * other through the same siolb, with a look for damage after each. */
import assert from "node:assert/strict";
import test from "node:test";

import { rows as pool } from "../wire/pool.mjs";
import { rows as requests } from "../wire/requests.mjs";
import { rows as responses } from "../wire/responses.mjs";
import { rules } from "../wire/rules.mjs";
import { rows as sids, SIDS } from "../wire/sids.mjs";
import { rows as unchanged } from "../wire/unchanged.mjs";
import { rows as upgrades } from "../wire/upgrades.mjs";
import { rawClient } from "./lib/scripted.mjs";
import { wireStage } from "./lib/wire.mjs";

const rows = [...requests, ...responses, ...upgrades, ...pool, ...unchanged, ...sids];

/* Several siolb, for what one configuration cannot show. */
const SETUPS = {
  one: { workers: ["w"] },
  impatient: { workers: ["w"], ini: { timeouts: { head: "1500ms", response: "1500ms" } } },
  loss: { workers: ["w"], sids: { w: ["w-0123456789"] } },
  pair: { workers: ["a", "b"] },
  fleet: { workers: ["a", "b", "c"], sids: SIDS, ini: { sticky: { cookie: "io" } } },
  python: { workers: ["a", "b", "c"], sids: SIDS, ini: { sticky: { cookie: "io", sid_repeated: "first" } } },
};

/* How clients connect, and what siolb needs for it: the whole table runs over each of them. */
const WAYS = { plain: { connect: rawClient, ini: {} } };

test("every rule has a row, every row has a rule, and no two rows have the same name", () => {
  const proven = new Set(rows.map((row) => row.rule));
  assert.deepEqual(Object.keys(rules).filter((rule) => !proven.has(rule)), [], "rules without a row");
  assert.deepEqual([...proven].filter((rule) => !(rule in rules)), [], "rows without a rule");
  assert.deepEqual([...new Set(rows.map((row) => row.setup ?? "one"))].filter((setup) => !(setup in SETUPS)), [], "rows without a setup");
  const names = rows.map((row) => `${row.rule}: ${row.name}`);
  assert.deepEqual(names.filter((name, n) => names.indexOf(name) !== n), []);
});

for (const [way, { connect, ini }] of Object.entries(WAYS)) {
  for (const [setup, options] of Object.entries(SETUPS)) {
    test(`the table over ${way} connections, setup ${setup}`, async (t) => {
      const stage = await wireStage(t, { ...options, connect, ini: { ...options.ini, ...ini } });
      for (const [number, row] of rows.entries()) {
        if ((row.setup ?? "one") === setup) await t.test(`${row.rule}: ${row.name}`, (rt) => stage.play(rt, row, number));
      }
    });
  }
}
