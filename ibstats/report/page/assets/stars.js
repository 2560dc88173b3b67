// Starred images as a contact sheet, to be printed or saved as PDF.

import { button, copy, make } from "./dom.js";
import { change, listen, state } from "./state.js";
import { imageButton } from "./pieces.js";
import { galleries, labelOf, modelOf, promptAt, stripOf } from "./album.js";

/** The button that leads to the sheet. */
export function starBar() {
  const made = button("", () => document.getElementById("stars").scrollIntoView());
  const count = () => {
    made.textContent = `★ ${state.stars.length} starred`;
    made.hidden = !state.stars.length;
  };
  count();
  listen((names) => { if (names.has("stars")) count(); });
  return made;
}

/** Show the sheet while there are stars. */
export function startStars() {
  const section = document.getElementById("stars");
  if (!section) return;
  draw(section);
  listen((names) => { if (names.has("stars")) draw(section); });
  window.addEventListener("afterprint", () => document.body.classList.remove("only-stars"));
}

function draw(section) {
  const there = state.stars.map(starred).filter(Boolean);
  section.hidden = !there.length;
  const sheet = make("div", { class: "sheet" }, there.map(({ of, model, condition, prompt, sample, reference }) => {
    const text = of.prompts[promptAt(of, prompt)].text;
    const open = () => change({ experiment: of.name, open: [[model.name, condition, prompt, sample]] });
    return make("figure", {}, imageButton(of, model, reference, Number(sample), { onclick: open, "aria-label": `open: ${text}` }),
      make("figcaption", {}, `${text} (${model.name}, ${labelOf(of, condition)}, sample ${Number(sample) + 1})`));
  }));
  const bar = make("div", { class: "bar" },
    button("Print, or save as PDF", () => {
      document.body.classList.add("only-stars");
      window.print();
    }),
    button("Copy as CSV", (event) => copy(asCsv(there), event.currentTarget)),
    button("Remove all stars", () => change({ stars: [] })));
  section.replaceChildren(make("h2", {}, "Contact sheet"), bar, sheet);
}

function starred([experiment, model, condition, prompt, sample]) {
  const of = galleries.find((one) => one.name === experiment);
  const reference = of && stripOf(of, [model, condition], prompt);
  return reference ? { of, model: modelOf(of, model), condition, prompt, sample, reference } : null;
}

function asCsv(there) {
  const quoted = (text) => `"${String(text).replaceAll('"', '""')}"`;
  const lines = there.map(({ of, model, condition, prompt, sample }) =>
    [of.name, model.name, condition, prompt, sample, of.prompts[promptAt(of, prompt)].text].map(quoted).join(","));
  return `experiment,model,condition,prompt,sample,text\n${lines.join("\n")}\n`;
}
