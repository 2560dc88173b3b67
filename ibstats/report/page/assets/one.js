// One image: large, with its text, its tokens, and its twins.

import { button, make } from "./dom.js";
import { change, listen, state } from "./state.js";
import { imageButton, place, stripUrl } from "./pieces.js";
import { columns, conditionAt, fullSize, galleries, gallery, labelOf, modelOf, nameOf, promptAt, promptsShown, share, stripOf, wordingOf } from "./album.js";
import { tokenPanel } from "./tokens.js";
import { toggleStar } from "./gallery.js";

let dialog = null;
let turn = 0;

/** Make the dialog, and open it where the hash asks for an image. */
export function startOne() {
  if (!galleries.length) return;
  dialog = make("dialog", { id: "one", "aria-labelledby": "one-title" });
  document.getElementById("dialogs").append(dialog);
  dialog.addEventListener("close", () => change({ open: [], step: "" }));
  dialog.addEventListener("keydown", keys);
  listen((names) => {
    if (names.has("open") || names.has("heat") || names.has("experiment")) draw(names.has("heat"));
    else if (names.has("stars") && dialog.open) draw(false);
  });
  draw(false);
}

async function draw(isSame) {
  const path = state.open[0];
  const of = gallery();
  const reference = path && path.length === 4 && stripOf(of, path.slice(0, 2), path[2]);
  if (!reference || !(Number(path[3]) < of.samples)) {
    if (dialog.open) dialog.close();
    return;
  }
  const mine = turn += 1;
  const model = modelOf(of, path[0]);
  const cover = make("div", { class: "cover" });
  const tokens = model.traced.length ? await tokenPanel(of, model, path, cover) : null;
  if (mine !== turn) return;
  const body = make("div", { class: "body" }, make("div", { class: "large" }, picture(of, model, path, reference, cover)), tokens, twins(of, path));
  const where = document.activeElement?.closest?.("#one select, #one [data-key]");
  const key = where?.dataset.key;
  dialog.replaceChildren(head(of, path), body);
  if (!dialog.open) dialog.showModal();
  if (key) dialog.querySelector(`[data-key="${key}"]`)?.focus();
  else if (isSame) dialog.querySelector("select")?.focus();
}

function head(of, path) {
  const [model, condition, prompt, sample] = path;
  const text = of.prompts[promptAt(of, prompt)].text;
  const given = wordingOf(of, model, condition, prompt, Number(sample));
  const isStarred = state.stars.some((star) => star.join("\n") === [of.name, ...path].join("\n"));
  const said = make("div", {}, make("h2", { id: "one-title" }, text));
  if (given && given !== text) said.append(make("p", {}, `given as: ${given}`));
  said.append(make("p", { class: "quiet" }, nameOf(of, path)));
  return make("div", { class: "head" }, said,
    button(isStarred ? "★ Starred" : "☆ Star", () => toggleStar(path), { "aria-pressed": String(isStarred), "data-key": "star" }),
    button("Previous", () => step(-1, 0), { "data-key": "previous" }), button("Next", () => step(1, 0), { "data-key": "next" }),
    button("Close", () => dialog.close(), { "data-key": "close" }));
}

function picture(of, model, path, reference, cover) {
  const holder = make("div", { role: "img", "aria-label": nameOf(of, path) });
  if (fullSize) {
    const place3 = [galleries.indexOf(of), of.models.indexOf(model), of.prompts[promptAt(of, path[2])].number - 1, conditionAt(of, path[1]), path[3]];
    const image = make("img", { src: `images/${place3.join("-")}.png`, alt: nameOf(of, path) });
    if (Math.max(...model.size) <= 128) image.classList.add("crisp");
    holder.removeAttribute("role");
    holder.append(image);
  } else {
    const image = make("div", { class: "im" });
    image.style.aspectRatio = `${model.shown[1]} / ${model.shown[0]}`;
    place(image, of, model, reference, Number(path[3]));
    image.style.width = "100%";
    image.style.height = "auto";
    holder.append(image);
  }
  holder.style.position = "relative";
  holder.append(cover);
  const [height, width] = model.size;
  const note = !fullSize && model.shown[0] < height ? `, shown as a thumbnail of ${model.shown[1]} × ${model.shown[0]}; \`ibstats view\` shows it whole` : "";
  return make("div", {}, holder, make("p", { class: "quiet" }, `${width} × ${height} pixels${note}`));
}

/** Every image of this prompt and number, by condition and model. */
function twins(of, path) {
  const [model, condition, prompt, sample] = path;
  const models = of.models.filter((one) => one.name === model || share(of, model, one.name));
  const isTwin = Boolean(modelOf(of, model).noise);
  const title = isTwin ? "Twins: the same noise in every condition" : "The same prompt and number in every condition (noise not shared)";
  const rows = of.conditions.map((one) => make("tr", {}, make("th", { scope: "row" }, one.label), models.map((other) => {
    const reference = stripOf(of, [other.name, one.name], prompt);
    const target = [other.name, one.name, prompt, sample];
    const isHere = other.name === model && one.name === condition;
    return make("td", {}, reference ? imageButton(of, other, reference, Number(sample), {
      "aria-label": nameOf(of, target), "aria-current": isHere ? "true" : null, "data-key": `${other.name}/${one.name}`, onclick: () => change({ open: [target] }),
    }) : "–");
  })));
  return make("div", { class: "twinned" }, make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": title },
    make("table", { class: "twins" }, make("caption", {}, make("strong", {}, title)),
      make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "condition"), models.map((one) => make("th", { scope: "col" }, one.name)))), make("tbody", {}, rows))));
}

/** Go to another sample or prompt. */
function step(samples, prompts) {
  const [model, condition, prompt, sample] = state.open[0];
  const of = gallery();
  const order = promptsShown().map((one) => one.id);
  const all = order.includes(prompt) ? order : of.prompts.map((one) => one.id);
  let number = Number(sample) + samples;
  let at = all.indexOf(prompt) + prompts;
  if (number < 0 || number >= of.samples) {
    at += Math.sign(samples);
    number = (number + of.samples) % of.samples;
  }
  if (at < 0 || at >= all.length) return;
  change({ open: [[model, condition, all[at], String(number)]] });
}

function keys(event) {
  if (event.target.closest("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  const moves = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1], j: [0, 1], k: [0, -1] };
  if (moves[event.key]) step(...moves[event.key]);
  else if (event.key === "s") toggleStar(state.open[0]);
  else return;
  event.preventDefault();
}
