// The images whose token grids hold a code, of all conditions of one model.

import { button, choice, make, say } from "./dom.js";
import { change, listen, state } from "./state.js";
import { codesOf, imageButton } from "./pieces.js";
import { galleries, gallery, labelOf, stripOf } from "./album.js";

const AT_ONCE = 60;

let panel = null;
let turn = 0;

/** Make the panel below the columns, where some model has tokens. */
export function startCodes() {
  if (!galleries.some((of) => of.models.some((model) => model.traced.length))) return;
  panel = make("details", { id: "code", class: "noprint", open: state.code.length > 0 });
  document.getElementById("thinned").before(panel);
  draw();
  listen((names) => {
    if (names.has("experiment")) draw();
    else if (names.has("code")) show();
  });
}

/** Choose a code of a model, and go to the images that use it. */
export function showCode(experiment, model, code) {
  if (!panel || !galleries.some((of) => of.name === experiment)) return;
  change({ experiment, code: [[model, code]] });
}

const traced = (of) => of.models.filter((model) => model.traced.length);

function draw() {
  const of = gallery();
  const models = traced(of);
  panel.hidden = !models.length;
  if (!models.length) return;
  panel.replaceChildren(make("summary", {}, "Images that use a code"), make("div", { class: "bar" }), make("div", { class: "found-images" }));
  show(false);
}

function drawBar(of, model, code) {
  const number = make("input", {
    type: "number", id: "code-number", min: "0", max: String(model.codes - 1), step: "1", value: code,
    onchange: () => change({ code: number.value === "" ? [] : [[model.name, number.value]] }),
  });
  const models = choice("Codes of", traced(of).map((one) => [one.name, one.name]), model.name, (name) => change({ code: [[name, code]] }));
  panel.querySelector(".bar").replaceChildren(models, make("label", {}, "Code", number));
}

/** Find the images of the code asked for, and list them. */
async function show(isAsked = true) {
  const of = gallery();
  const [name, code] = state.code[0] ?? [];
  const model = traced(of).find((one) => one.name === name) ?? traced(of)[0];
  const isNumberFocused = document.activeElement?.id === "code-number";
  drawBar(of, model, code ?? "");
  if (isNumberFocused) document.getElementById("code-number").focus();
  const box = panel.querySelector(".found-images");
  const mine = turn += 1;
  box.replaceChildren();
  if (!code) return;
  panel.open = true;
  if (isAsked && !isNumberFocused) panel.scrollIntoView({ block: "start", behavior: "instant" });
  const found = await imagesOf(of, model, Number(code), () => mine === turn);
  if (mine !== turn) return;
  if (!found) {
    box.append(make("p", { class: "quiet" }, "A browser does not let a page on disk read the token grids beside it; `ibstats view` shows them."));
    return;
  }
  list(box, of, model, code, found);
}

/** Every image that holds the code, most tokens of it first; null where grids are unreadable. */
async function imagesOf(of, model, code, isWanted) {
  const cells = model.grid[0] * model.grid[1];
  const found = { images: [], n: 0, tokens: 0 };
  for (let at = 0; at < of.prompts.length && isWanted(); at += 1) {
    const reference = model.traces[at];
    const codes = reference && await codesOf(model, reference);
    if (reference && !codes) return null;
    for (let image = 0; codes && image < codes.length / cells; image += 1) {
      let n = 0;
      for (let place = image * cells; place < (image + 1) * cells; place += 1) n += codes[place] === code;
      const condition = of.conditions[Math.floor(image / of.samples)].name;
      if (n) found.images.push({ path: [model.name, condition, of.prompts[at].id, String(image % of.samples)], prompt: of.prompts[at], n });
      found.tokens += n;
      found.n += 1;
    }
  }
  found.images.sort((a, b) => b.n - a.n);
  return found;
}

function list(box, of, model, code, found) {
  const held = of.prompts.length < of.total ? ` (of the ${of.prompts.length} prompts that the file holds)` : "";
  const told = `Code ${code} of ${model.name}: ${found.tokens} tokens, in ${found.images.length} of ${found.n} images${held}.`;
  const sheet = make("div", { class: "sheet" });
  const more = button("Show more", () => add());
  const add = () => {
    const start = sheet.children.length;
    for (const image of found.images.slice(start, start + AT_ONCE)) sheet.append(figure(of, model, image));
    more.hidden = sheet.children.length === found.images.length;
  };
  box.replaceChildren(make("p", {}, told), sheet, more);
  add();
  say(told);
}

function figure(of, model, { path, prompt, n }) {
  const reference = stripOf(of, path.slice(0, 2), path[2]);
  const said = `${labelOf(of, path[1])}, prompt ${prompt.number}, sample ${Number(path[3]) + 1}`;
  return make("figure", {}, imageButton(of, model, reference, Number(path[3]), {
    onclick: () => change({ open: [path] }), "aria-label": `open: ${said}`,
  }), make("figcaption", {}, `${n} × in ${said}`));
}
