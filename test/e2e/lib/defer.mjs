/*
 * defer - clean-up in reverse order: what was started last ends first (clients, then siolb, then workers).
 *
 * node:test runs t.after() hooks in the order of their registration, which would take the workers away under siolb.
 */
const pending = new WeakMap();

/** Run `clean` when the test `t` is over, before everything that was deferred earlier. All of them run, whatever fails. */
export function defer(t, clean) {
  const known = pending.get(t);
  if (known) {
    known.push(clean);
    return;
  }
  const cleans = [clean];
  pending.set(t, cleans);
  t.after(async () => {
    const errors = [];
    while (cleans.length > 0) {
      try {
        await cleans.pop()();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length === 1) throw errors[0];
    if (errors.length > 1) throw new AggregateError(errors, errors.map((e) => e.message).join("; "));
  });
}

/**
 * A `t` for something shorter than a test, such as one of the thousand clients of a long one: `await part.end()` cleans up
 * what was deferred to it.
 */
export function part() {
  let clean = () => {};
  return { passed: true, after: (hook) => (clean = hook), end: () => clean() };
}

/** `promise`, or an error that says what was waited for. A safety net: nothing is meant to take this long. */
export async function within(ms, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`still waiting for ${what} after ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
