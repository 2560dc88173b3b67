// The table of images: prompts down, columns across, every sample.

import { button, choice, make, say } from "./dom.js";
import { change, listen, state } from "./state.js";
import { imageButton } from "./pieces.js";
import { columns, conditionAt, galleries, gallery, labelOf, modelOf, nameOf, orders, plainColumns, promptsShown, share, sortValue, stripOf } from "./album.js";
import { starBar } from "./stars.js";
import { blindButton } from "./blind.js";

const SIZES = [["32", "small"], ["48", "medium"], ["72", "large"], ["128", "very large"]];
const REDRAWN = ["experiment", "columns", "sort", "up", "find", "size"];

let table = null;
let bar = null;
let focus = null;
let watcher = null;

/** Make the viewer in its section. */
export function startGallery() {
  const box = document.getElementById("viewer");
  if (!box || !galleries.length) return;
  bar = make("div", { class: "bar" });
  table = make("div", { id: "gallery" });
  box.replaceChildren(bar, make("p", { id: "thinned", class: "quiet" }), table);
  drawBar();
  draw();
  listen((names) => {
    if (names.has("experiment") || names.has("columns")) drawBar();
    if (REDRAWN.some((name) => names.has(name))) draw();
    if (names.has("stars")) markStars();
  });
  table.addEventListener("pointerover", (event) => markTwins(event.target.closest(".im")));
  table.addEventListener("pointerleave", () => markTwins(null));
  table.addEventListener("focusin", (event) => markTwins(event.target.closest(".im")));
  table.addEventListener("click", (event) => {
    const image = event.target.closest(".im");
    if (image) change({ open: [pathOf(image)] });
  });
  table.addEventListener("keydown", move);
}

function drawBar() {
  const of = gallery();
  const find = make("input", { type: "search", id: "find", placeholder: "words of a prompt", oninput: () => change({ find: find.value }) });
  find.value = state.find;
  const parts = [];
  if (galleries.length > 1) {
    const pairs = galleries.map((one) => [one.name, one.name]);
    parts.push(choice("Experiment", pairs, of.name, (name) => change({ experiment: name, columns: [], open: [] })));
  }
  parts.push(make("label", { class: "wide" }, "Search", find));
  parts.push(choice("Sort prompts by", orders(of), state.sort, (sort) => change({ sort })));
  parts.push(choice("Order", [["", "falling"], ["1", "rising"]], state.up, (up) => change({ up })));
  parts.push(choice("Images", SIZES, state.size, (size) => change({ size })));
  parts.push(blindButton(), starBar());
  const wasOpen = document.getElementById("columns")?.open ?? false;
  document.getElementById("columns")?.remove();
  bar.replaceChildren(...parts);
  bar.after(columnMatrix(of, wasOpen));
}

/** Boxes to tick: conditions down, models across. */
function columnMatrix(of, isOpen) {
  const chosen = columns();
  const isOn = (model, condition) => chosen.some(([m, c]) => m === model && c === condition);
  const toggle = (model, condition) => {
    const left = columns().filter(([m, c]) => m !== model || c !== condition);
    change({ columns: left.length < columns().length ? left : [...left, [model, condition]] });
  };
  const head = of.models.map((model) => make("th", { scope: "col" }, model.name));
  const rows = of.conditions.map((condition) => make("tr", {},
    make("th", { scope: "row" }, condition.label + (condition.name === of.baseline ? " (baseline)" : "")),
    of.models.map((model) => make("td", {}, make("input", {
      type: "checkbox", checked: isOn(model.name, condition.name),
      "aria-label": `${model.name}, ${condition.label}`, onchange: () => toggle(model.name, condition.name),
    })))));
  const every = of.models.map((model) => button(`All of ${model.name}`, () =>
    change({ columns: of.conditions.map((one) => [model.name, one.name]) })));
  const grid = make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "columns" },
    make("table", { class: "matrix" }, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "condition"), head)), make("tbody", {}, rows)));
  return make("details", { id: "columns", class: "noprint", open: isOpen },
    make("summary", {}, `Columns (${chosen.length} of ${of.models.length * of.conditions.length})`),
    make("div", { class: "bar" }, button("Reset", () => change({ columns: plainColumns(of) })), every), grid);
}

function draw() {
  const of = gallery();
  const shown = promptsShown();
  const across = columns();
  const thinned = document.getElementById("thinned");
  thinned.textContent = of.prompts.length < of.total
    ? `The file holds ${of.prompts.length} of ${of.total} prompts, evenly spaced, so that it stays small. ` +
      "`ibstats view` shows every one; `ibstats page --all` and `--bundle` write every one."
    : "";
  thinned.hidden = !thinned.textContent;
  const heads = across.map(([model, condition]) => make("th", { scope: "col", role: "columnheader" }, model, make("small", {}, labelOf(of, condition))));
  const body = make("tbody", { role: "rowgroup" });
  watcher?.disconnect();
  watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) fill(entry.target);
  }, { rootMargin: "600px" });
  for (const prompt of shown) {
    const row = make("tr", { role: "row", "data-prompt": prompt.id }, rowHead(of, prompt),
      across.map(([model, condition]) => make("td", { role: "cell" },
        make("span", { class: "column" }, `${model}, ${labelOf(of, condition)}`), make("div", { class: "strip" }))));
    body.append(row);
    watcher.observe(row);
  }
  table.style.setProperty("--side", `${state.size}px`);
  const empty = shown.length ? null : make("p", { class: "empty" }, "No prompt holds these words.");
  table.replaceChildren(make("table", { class: "gallery", role: "table", "aria-label": `Images of ${of.name}` },
    make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, make("th", { scope: "col", role: "columnheader" }, `Prompt (${shown.length})`), heads)), body), ...(empty ? [empty] : []));
  [...body.rows].slice(0, 4).forEach(fill);
  focus = table.querySelector(".im");
  if (focus) focus.tabIndex = 0;
  say(`${shown.length} prompts, ${across.length} columns`);
}

function rowHead(of, prompt) {
  const head = make("th", { scope: "row", role: "rowheader" }, make("small", {}, `${prompt.number}. `), prompt.text);
  const value = state.sort ? sortValue(of, prompt.id) : null;
  if (value !== null) head.append(make("span", { class: "value" }, Number(value.toPrecision(4)).toString()));
  return head;
}

/** Put the images of a row where they belong, once. */
function fill(row) {
  if (row.dataset.filled) return;
  row.dataset.filled = "1";
  watcher.unobserve(row);
  const of = gallery();
  const prompt = row.dataset.prompt;
  columns().forEach((column, at) => {
    const strip = row.cells[at + 1].querySelector(".strip");
    const reference = stripOf(of, column, prompt);
    if (!reference) {
      strip.replaceWith(make("span", { class: "quiet" }, "not complete"));
      return;
    }
    const model = modelOf(of, column[0]);
    for (let sample = 0; sample < of.samples; sample += 1) {
      const path = [...column, prompt, String(sample)];
      const image = imageButton(of, model, reference, sample, {
        tabindex: "-1", "data-model": column[0], "data-condition": column[1], "data-sample": sample, "aria-label": nameOf(of, path),
      });
      image.classList.toggle("starred", isStarred(of, path));
      strip.append(image);
    }
    if (of.crossed) cross(strip, of.crossed[1]);
  });
}

/** Crossed noise: a row a path, a column an execution. */
function cross(strip, executions) {
  strip.className = "crossing";
  strip.style.gridTemplateColumns = `repeat(${executions}, auto)`;
  strip.title = "rows: path noise; columns: execution noise";
}

function pathOf(image) {
  const { model, condition, sample } = image.dataset;
  return [model, condition, image.closest("tr").dataset.prompt, sample];
}

function isStarred(of, path) {
  return state.stars.some((star) => star.join("\n") === [of.name, ...path].join("\n"));
}

function markStars() {
  const of = gallery();
  for (const image of table.querySelectorAll(".im")) image.classList.toggle("starred", isStarred(of, pathOf(image)));
}

/** Outline the images of a row that have the noise of one of them. */
function markTwins(image) {
  for (const one of table.querySelectorAll(".twin")) one.classList.remove("twin");
  if (!image) return;
  const of = gallery();
  for (const one of image.closest("tr").querySelectorAll(`[data-sample="${image.dataset.sample}"]`)) {
    if (share(of, image.dataset.model, one.dataset.model)) one.classList.add("twin");
  }
}

/** Arrows, j and k, Home and End move among images; s stars. */
function move(event) {
  const image = event.target.closest(".im");
  if (!image || event.ctrlKey || event.metaKey || event.altKey) return;
  const row = image.closest("tr");
  const inRow = [...row.querySelectorAll(".im")];
  const at = inRow.indexOf(image);
  const key = { j: "ArrowDown", k: "ArrowUp", h: "ArrowLeft", l: "ArrowRight" }[event.key] ?? event.key;
  let next = null;
  if (key === "ArrowRight") next = inRow[at + 1];
  else if (key === "ArrowLeft") next = inRow[at - 1];
  else if (key === "Home") next = inRow[0];
  else if (key === "End") next = inRow.at(-1);
  else if (key === "ArrowDown" || key === "ArrowUp") {
    const other = key === "ArrowDown" ? row.nextElementSibling : row.previousElementSibling;
    if (other) {
      fill(other);
      next = [...other.querySelectorAll(".im")][at] ?? other.querySelector(".im");
    }
  } else if (key === "s") {
    toggleStar(pathOf(image));
  } else return;
  event.preventDefault();
  if (next) focusOn(next);
}

function focusOn(image) {
  if (focus) focus.tabIndex = -1;
  focus = image;
  image.tabIndex = 0;
  image.focus();
  image.scrollIntoView({ block: "nearest", behavior: "instant" });
}

/** Star an image, or take its star away. */
export function toggleStar(path) {
  const whole = [gallery().name, ...path];
  const left = state.stars.filter((star) => star.join("\n") !== whole.join("\n"));
  change({ stars: left.length < state.stars.length ? left : [...left, whole] });
  say(left.length < state.stars.length ? "starred" : "star removed");
}

/** Go to a prompt in some columns, and show where it is. */
export function showPrompt(experiment, wanted, prompt) {
  const of = galleries.find((one) => one.name === experiment);
  if (!of || !of.prompts.some((one) => one.id === prompt)) return;
  const there = wanted.filter(([model, condition]) => modelOf(of, model) && conditionAt(of, condition) >= 0);
  change({ experiment, columns: there, find: "" });
  const row = [...table.querySelectorAll("tr[data-prompt]")].find((one) => one.dataset.prompt === prompt);
  if (!row) return;
  for (const other of table.querySelectorAll(".found")) other.classList.remove("found");
  row.classList.add("found");
  fill(row);
  row.scrollIntoView({ block: "center" });
  const image = row.querySelector(".im");
  if (image) focusOn(image);
}
