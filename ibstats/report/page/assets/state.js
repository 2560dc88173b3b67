// What is shown, kept in the URL's hash, so that a view is a link.

const PLAIN = { experiment: "", columns: [], sort: "", up: "", find: "", open: [], heat: "tokens", step: "", size: "48", stars: [], code: [], filter: "" };
const listeners = [];

export const state = { ...PLAIN };

/** Call a function with the names of what changed, each time that something does. */
export function listen(listener) {
  listeners.push(listener);
}

/** Change some of it; the hash follows, and everyone who listens. */
export function change(values) {
  const names = Object.keys(values).filter((name) => written(name, values[name]) !== written(name, state[name]));
  if (!names.length) return;
  Object.assign(state, values);
  history.replaceState(null, "", `#${hash()}`);
  for (const listener of listeners) listener(new Set(names));
}

/** A list of lists of names as text: commas between, slashes within. */
function written(name, value) {
  if (!Array.isArray(PLAIN[name])) return encodeURIComponent(value);
  return value.map((path) => path.map(encodeURIComponent).join("/")).join(",");
}

function parsed(name, text) {
  if (!Array.isArray(PLAIN[name])) return decodeURIComponent(text);
  if (!text) return [];
  return text.split(",").map((path) => path.split("/").map(decodeURIComponent));
}

function hash() {
  const parts = [];
  for (const name of Object.keys(PLAIN)) {
    const text = written(name, state[name]);
    if (text !== written(name, PLAIN[name])) parts.push(`${name}=${text}`);
  }
  return parts.join("&") || "images";
}

/** Read the hash; the name of a section alone is none of ours, and changes nothing. */
export function readHash() {
  const text = location.hash.slice(1);
  if (text && !text.includes("=")) return;
  const values = { ...PLAIN };
  for (const part of text.split("&")) {
    const [name, value] = part.split("=");
    if (!(name in PLAIN) || value === undefined) continue;
    try {
      values[name] = parsed(name, value);
    } catch {
      values[name] = PLAIN[name];
    }
  }
  change(values);
}
