// A grid of tokens: codes, surprisal, entropy and step as heat, and the path up to a step.

import { choice, make } from "./dom.js";
import { change, state } from "./state.js";
import { trace } from "./pieces.js";
import { conditionAt, promptAt } from "./album.js";

const UNITS = 256;
const UNKNOWN = 65535;
const NAMES = { tokens: "codes", token_surprisal: "surprisal, bit", token_entropy: "entropy, bit", token_step: "step" };
const CIVIDIS = [[0, 34, 78], [33, 61, 110], [77, 89, 109], [113, 113, 115], [146, 140, 119], [184, 171, 110], [224, 203, 85], [254, 232, 56]];

/** Colour at a share of the scale, from dark blue to yellow (cividis), as red, green, blue. */
export function heat(share) {
  const at = Math.min(Math.max(share, 0), 1) * (CIVIDIS.length - 1);
  const low = Math.min(Math.floor(at), CIVIDIS.length - 2);
  return CIVIDIS[low].map((part, channel) => Math.round(part + (CIVIDIS[low + 1][channel] - part) * (at - low)));
}

const css = (colour) => `rgb(${colour.join(" ")})`;
const inkOn = ([r, g, b]) => (0.2126 * (r / 255) ** 2.2 + 0.7152 * (g / 255) ** 2.2 + 0.0722 * (b / 255) ** 2.2 > 0.18 ? "#000" : "#fff");
const bits = (number) => (number === UNKNOWN ? "unknown" : (number / UNITS).toFixed(1));

/** The panel of one sample's tokens; it covers the picture where the path has not been yet. */
export async function tokenPanel(of, model, [, condition, prompt, sample], cover) {
  const box = make("div", { class: "tokens" });
  const reference = model.traces[promptAt(of, prompt)];
  const found = reference && await trace(model, reference, conditionAt(of, condition), Number(sample), of.samples);
  if (!found) {
    box.append(make("p", { class: "quiet" }, reference
      ? "A browser does not let a page on disk read the token grids beside it; `ibstats view` shows them."
      : "This run holds no token grid of the image."));
    return box;
  }
  const [rows, cols] = model.grid;
  const steps = stepsOf(model, found);
  const shown = [...model.traced.filter((name) => NAMES[name])];
  if (steps && !shown.includes("token_step")) shown.push("token_step");
  const kind = shown.includes(state.heat) ? state.heat : shown[0];
  const grid = make("div", { class: "grid", role: "img" });
  grid.style.gridTemplateColumns = cover.style.gridTemplateColumns = `repeat(${cols}, 1fr)`;
  cover.style.gridTemplateRows = `repeat(${rows}, 1fr)`;
  const readout = make("p", { class: "readout", "aria-live": "polite" });
  const legend = make("div", { class: "legend" });
  const cells = found.tokens.map(() => grid.appendChild(make("i")));
  const covers = found.tokens.map(() => cover.appendChild(make("i")));
  const colour = () => paint(kind, found, steps, cells, legend, model, grid);
  const tell = (at) => { readout.textContent = at < 0 ? summary(found, steps) : described(at, found, steps, cols); };
  grid.addEventListener("pointermove", (event) => tell(cells.indexOf(event.target)));
  grid.addEventListener("pointerleave", () => tell(-1));
  grid.addEventListener("click", (event) => {
    const at = cells.indexOf(event.target);
    if (at >= 0) change({ code: [[model.name, String(found.tokens[at])]], open: [] });
  });
  box.append(make("div", { class: "bar" }, choice("Heat", shown.map((name) => [name, NAMES[name]]), kind, (heatKind) => change({ heat: heatKind }))), grid, legend);
  if (steps) box.append(scrubber(steps, cells, covers));
  box.append(readout);
  colour();
  tell(-1);
  return box;
}

/** The step of each token: as recorded, or the raster order of an autoregressive model; else null. */
function stepsOf(model, found) {
  if (found.token_step) return found.token_step;
  return model.family === "autoregressive" ? found.tokens.map((_, at) => at) : null;
}

function paint(kind, found, steps, cells, legend, model, grid) {
  const values = kind === "token_step" ? steps : found[kind];
  const inBits = kind === "token_surprisal" || kind === "token_entropy";
  const known = values.filter((value) => value !== UNKNOWN);
  const most = inBits && model.codes > 1 ? Math.log2(model.codes) * UNITS : Math.max(...known, 1);
  const small = Math.sqrt(cells.length) > 20;
  values.forEach((value, at) => {
    const tone = kind === "tokens" ? codeTone(value) : heat(value / most);
    cells[at].style.background = value === UNKNOWN && inBits ? "transparent" : css(tone);
    cells[at].style.color = inkOn(tone);
    if (!small) cells[at].textContent = inBits ? bits(value) : String(kind === "token_step" ? value + 1 : value);
  });
  grid.setAttribute("aria-label", `${NAMES[kind]} of ${cells.length} tokens`);
  legend.replaceChildren();
  if (kind === "tokens") {
    legend.append("equal codes have equal colours");
    return;
  }
  const bar = make("canvas", { width: 140, height: 1, "aria-hidden": "true" });
  const pen = bar.getContext("2d");
  for (let x = 0; x < 140; x += 1) {
    pen.fillStyle = css(heat(x / 139));
    pen.fillRect(x, 0, 1, 1);
  }
  legend.append(inBits ? "0" : "step 1", bar, inBits ? `${(most / UNITS).toFixed(1)} bit${model.codes > 1 ? `, log2 of ${model.codes} codes` : ""}${Math.max(...known) > most ? ", or more" : ""}` : `step ${most + 1}`);
}

/** A colour of its own for each code, spread over the scale. */
function codeTone(code) {
  return heat((code * 0.618033988749895) % 1);
}

function scrubber(steps, cells, covers) {
  const last = Math.max(...steps);
  const told = make("output", {}, "");
  const range = make("input", { type: "range", min: "0", max: String(last + 1), "aria-label": "steps of the path shown", oninput: () => show(Number(range.value), true) });
  function show(upTo, isMoved) {
    let n = 0;
    steps.forEach((step, at) => {
      const isHidden = step >= upTo;
      if (!isHidden) n += 1;
      cells[at].classList.toggle("hidden", isHidden);
      covers[at].classList.toggle("hidden", isHidden);
    });
    told.textContent = `after ${upTo} of ${last + 1} steps: ${n} of ${steps.length} tokens`;
    range.setAttribute("aria-valuetext", told.textContent);
    if (isMoved) change({ step: upTo > last ? "" : String(upTo) });
  }
  range.value = state.step === "" ? String(last + 1) : state.step;
  show(Number(range.value), false);
  return make("div", {}, make("div", { class: "scrub" }, "Path", range), make("small", {}, told));
}

function described(at, found, steps, cols) {
  const parts = [`row ${Math.floor(at / cols) + 1}, column ${at % cols + 1}: code ${found.tokens[at]}`];
  if (found.token_surprisal) parts.push(`surprisal ${bits(found.token_surprisal[at])} bit`);
  if (found.token_entropy) parts.push(`entropy ${bits(found.token_entropy[at])} bit`);
  if (steps) parts.push(`step ${steps[at] + 1}`);
  return parts.join(", ");
}

function summary(found, steps) {
  const parts = [`${new Set(found.tokens).size} different codes in ${found.tokens.length} tokens`];
  for (const [name, word] of [["token_surprisal", "surprisal"], ["token_entropy", "entropy"]]) {
    const known = (found[name] ?? []).filter((value) => value !== UNKNOWN);
    if (known.length) parts.push(`${word} ${(known.reduce((a, b) => a + b, 0) / UNITS).toFixed(0)} bit in all`);
  }
  if (steps) parts.push(`${new Set(steps).size} steps`);
  return `${parts.join("; ")}. Point at a token to read it, click it for the images that use its code.`;
}
