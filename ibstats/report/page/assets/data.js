// Every row of the results: filtered, shown page by page, copied as CSV or LaTeX.

import { button, copy, held, make, say } from "./dom.js";
import { change, listen, state } from "./state.js";

const SHOWN = ["model", "experiment", "section", "quantity", "term", "part", "attribution", "estimate", "low", "high", "p_holm", "verdict", "units", "n_prompts", "n_images", "note"];
const NUMBERS = new Set(["estimate", "low", "high", "p_holm", "n_prompts", "n_images"]);
const AT_ONCE = 50;

let rows = null;
let columns = null;
let first = 0;

/** All rows of all documents, read once they are needed. */
export function allRows() {
  if (!rows) {
    const found = held("rows") ?? { columns: [], rows: [] };
    columns = found.columns;
    rows = found.rows;
    for (const row of rows) row.text = Object.entries(row).filter(([, value]) => typeof value === "string").map(([, value]) => value).join(" ").toLowerCase();
  }
  return rows;
}

function matching() {
  const words = state.filter.toLowerCase().split(/\s+/).filter(Boolean);
  return allRows().filter((row) => words.every((word) => row.text.includes(word)));
}

/** A number as it is shown; the copies hold every digit. */
export function shownNumber(value) {
  return Number.isInteger(value) ? String(value) : Number(value.toPrecision(6)).toString();
}

/** Make the section once it comes into view. */
export function startData() {
  const box = document.getElementById("all-rows");
  if (!box) return;
  const watcher = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    watcher.disconnect();
    fill(box);
  }, { rootMargin: "400px" });
  watcher.observe(box);
}

function fill(box) {
  const filter = make("input", { type: "search", id: "filter", placeholder: "words of a row", oninput: () => change({ filter: filter.value }) });
  filter.value = state.filter;
  const told = make("span", { id: "found", class: "quiet" });
  const table = make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "rows of the results" });
  const step = (by) => { first = Math.min(Math.max(first + by, 0), Math.max(matching().length - 1, 0)); draw(); };
  const back = button("Back", () => step(-AT_ONCE));
  const on = button("On", () => step(AT_ONCE));
  box.replaceChildren(make("div", { class: "bar" }, make("label", { class: "wide" }, "Filter", filter), told, back, on,
    button("Copy as CSV", (event) => copy(asCsv(matching()), event.currentTarget)), button("Copy as LaTeX", (event) => copy(asLatex(matching()), event.currentTarget))), table);
  function draw() {
    const found = matching();
    const here = found.slice(first, first + AT_ONCE);
    told.textContent = found.length ? `${first + 1} to ${first + here.length} of ${found.length} rows` : "no row holds these words";
    back.disabled = first === 0;
    on.disabled = first + AT_ONCE >= found.length;
    table.replaceChildren(make("table", {}, make("thead", {}, make("tr", {}, SHOWN.map((name) => make("th", { scope: "col", class: NUMBERS.has(name) ? "number" : null }, name)))),
      make("tbody", {}, here.map((row) => make("tr", { class: row.weak ? "weak" : null }, SHOWN.map((name) => cell(row, name)))))));
  }
  draw();
  listen((names) => {
    if (!names.has("filter")) return;
    first = 0;
    if (filter.value !== state.filter) filter.value = state.filter;
    draw();
    say(told.textContent);
  });
}

function cell(row, name) {
  const value = row[name];
  if (NUMBERS.has(name)) return make("td", { class: "number" }, value === undefined || value === null ? "–" : shownNumber(value));
  return make("td", {}, value ?? "");
}

function asCsv(found) {
  const quoted = (value) => {
    if (value === undefined || value === null) return "";
    if (typeof value === "object") return quoted(Object.entries(value).map(([name, level]) => `${name}=${level}`).join("; "));
    const text = String(value);
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const lines = found.map((row) => columns.map((name) => quoted(row[name])).join(","));
  return `${columns.join(",")}\n${lines.join("\n")}\n`;
}

const SIGNS = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}" };

function escaped(value) {
  return String(value ?? "").replace(/[\\~^&%$#_{}]/g, (sign) => SIGNS[sign] ?? `\\${sign}`);
}

function asLatex(found) {
  const names = SHOWN.slice(0, 11);
  const lines = found.map((row) => names.map((name) => (NUMBERS.has(name) ? (row[name] === undefined || row[name] === null ? "--" : `$${shownNumber(row[name])}$`) : escaped(row[name]))).join(" & "));
  const kinds = names.map((name) => (NUMBERS.has(name) ? "r" : "l")).join("");
  return `\\begin{tabular}{${kinds}}\n\\hline\n${names.map(escaped).join(" & ")} \\\\\n\\hline\n${lines.join(" \\\\\n")} \\\\\n\\hline\n\\end{tabular}\n`;
}
