// Two columns side by side without their names: which is which is told at the end.

import { button, choice, make } from "./dom.js";
import { columns, gallery, labelOf, modelOf, stripOf } from "./album.js";
import { imageButton } from "./pieces.js";

const ROUNDS = 12;
const QUESTIONS = [["diverse", "Which is more diverse?"], ["match", "Which fits the prompt better?"]];

let dialog = null;

/** The button that starts it. */
export function blindButton() {
  return button("Blind comparison", () => begin(), { "aria-haspopup": "dialog" });
}

/** Numbers from 0 to 1 that follow from a seed (mulberry32). */
function randomOf(seed) {
  let at = seed >>> 0;
  return () => {
    at = (at + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(at ^ (at >>> 15), at | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

function begin() {
  if (!dialog) {
    dialog = make("dialog", { id: "blind", "aria-labelledby": "blind-title" });
    document.getElementById("dialogs").append(dialog);
  }
  const of = gallery();
  const all = of.models.flatMap((model) => of.conditions.map((condition) => [model.name, condition.name]));
  const pairs = all.map(([model, condition], at) => [String(at), `${model}, ${labelOf(of, condition)}`]);
  const place = ([model, condition]) => String(all.findIndex(([m, c]) => m === model && c === condition));
  const shown = columns();
  const asked = { one: place(shown[0]), other: place(shown[1] ?? all.find(([m, c]) => m !== shown[0][0] || c !== shown[0][1]) ?? shown[0]), question: "diverse" };
  const start = button("Begin", () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    play(of, [all[asked.one], all[asked.other]], QUESTIONS.find(([name]) => name === asked.question)[1], seed);
  });
  frame("Blind comparison", make("p", {}, `Up to ${ROUNDS} prompts in random order, each by both columns; sides change at random, names are told at the end.`),
    make("div", { class: "bar" }, choice("One", pairs, asked.one, (value) => { asked.one = value; }), choice("The other", pairs, asked.other, (value) => { asked.other = value; }),
      choice("Question", QUESTIONS, asked.question, (value) => { asked.question = value; }), start));
  dialog.showModal();
}

function frame(title, ...content) {
  dialog.replaceChildren(make("div", { class: "head" }, make("div", {}, make("h2", { id: "blind-title" }, title)), button("Close", () => dialog.close())),
    make("div", { class: "body" }, ...content));
}

function play(of, pair, question, seed) {
  const random = randomOf(seed);
  const prompts = of.prompts.filter((prompt) => pair.every((column) => stripOf(of, column, prompt.id)));
  const rounds = prompts.map((prompt) => [random(), prompt]).sort((a, b) => a[0] - b[0]).slice(0, ROUNDS).map(([, prompt]) => [prompt, random() < 0.5]);
  const answers = [];
  dialog.onkeydown = (event) => {
    const answer = { 1: 0, 2: 1, 0: 2 }[event.key];
    if (answer !== undefined && answers.length < rounds.length) give(answer);
  };
  function give(side) {
    const isSwapped = rounds[answers.length][1];
    answers.push(side === 2 ? 2 : isSwapped ? 1 - side : side);
    show();
  }
  function show() {
    if (answers.length >= rounds.length) return tell(of, pair, question, answers, seed);
    const [prompt, isSwapped] = rounds[answers.length];
    const sides = (isSwapped ? [pair[1], pair[0]] : pair).map((column, side) => make("div", {},
      make("h3", {}, side ? "B" : "A"), make("div", { class: "strip" }, images(of, column, prompt.id, side))));
    frame(`${answers.length + 1} of ${rounds.length}: ${prompt.text}`, make("div", { class: "sides" }, sides),
      make("div", { class: "bar" }, make("span", {}, question), button("A (key 1)", () => give(0)), button("B (key 2)", () => give(1)), button("Same (key 0)", () => give(2))));
    dialog.querySelector(".body button:not(.im)").focus();
  }
  show();
}

function images(of, column, prompt, side) {
  const made = [];
  for (let sample = 0; sample < of.samples; sample += 1) {
    made.push(imageButton(of, modelOf(of, column[0]), stripOf(of, column, prompt), sample, { disabled: true, "aria-label": `${side ? "B" : "A"}, sample ${sample + 1}` }));
  }
  return made;
}

function tell(of, pair, question, answers, seed) {
  const count = (which) => answers.filter((answer) => answer === which).length;
  const rows = pair.map(([model, condition], which) => make("tr", {}, make("th", { scope: "row" }, `${model}, ${labelOf(of, condition)}`), make("td", { class: "number" }, String(count(which)))));
  rows.push(make("tr", {}, make("th", { scope: "row" }, "same"), make("td", { class: "number" }, String(count(2)))));
  frame("What you chose", make("table", {}, make("caption", {}, make("strong", {}, question), make("small", {}, ` ${answers.length} prompts, seed ${seed}`)), make("tbody", {}, rows)),
    make("p", { class: "quiet" }, "Counts of one looker, not a test."), button("Again", () => { dialog.close(); begin(); }));
}
