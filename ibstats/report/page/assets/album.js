// The galleries as data: which experiment, columns, order of prompts, twins.

import { held } from "./dom.js";
import { state } from "./state.js";

const known = held("galleries") ?? { galleries: [], quantities: {} };

export const galleries = known.galleries;
export const quantities = known.quantities;
export const fullSize = known.full;

/** The gallery shown. */
export function gallery() {
  return galleries.find((one) => one.name === state.experiment) ?? galleries[0];
}

export function modelOf(of, name) {
  return of.models.find((one) => one.name === name);
}

export function labelOf(of, condition) {
  return of.conditions.find((one) => one.name === condition)?.label ?? condition;
}

/** Place of a condition or a prompt in a gallery. */
export function conditionAt(of, condition) {
  return of.conditions.findIndex((one) => one.name === condition);
}

export function promptAt(of, prompt) {
  return of.prompts.findIndex((one) => one.id === prompt);
}

/** Columns asked for that there are, as [model, condition]; by default where nothing was changed. */
export function columns() {
  const of = gallery();
  const there = state.columns.filter(([model, condition]) => modelOf(of, model) && conditionAt(of, condition) >= 0);
  return there.length ? there : plainColumns(of);
}

const MOST = 4;

/** The baseline of every model; of a single model its first conditions, baseline first. */
export function plainColumns(of) {
  const base = of.baseline ?? of.conditions[of.conditions.length - 1].name;
  if (of.models.length > 1) return of.models.slice(0, MOST).map((model) => [model.name, base]);
  const others = of.conditions.map((one) => one.name).filter((name) => name !== base);
  return [base, ...others].slice(0, MOST).map((name) => [of.models[0].name, name]);
}

/** Reference to the strip of a prompt in a column; undefined where it lacks. */
export function stripOf(of, [model, condition], prompt) {
  return modelOf(of, model)?.strips[promptAt(of, prompt)]?.[conditionAt(of, condition)];
}

/** Value of a quantity of a prompt in a column; null where it lacks. */
export function valueOf(of, [model, condition], prompt, quantity) {
  return modelOf(of, model)?.values[quantity]?.[conditionAt(of, condition)]?.[promptAt(of, prompt)] ?? null;
}

/** What prompts can be sorted by: [value, text] pairs. */
export function orders(of) {
  const pairs = [["", "order of the study"]];
  const names = new Set(of.models.flatMap((model) => Object.keys(model.values)));
  for (const name of names) pairs.push([`value:${name}`, quantities[name] ?? name]);
  if (columns().length > 1) {
    for (const name of names) pairs.push([`change:${name}`, `change between columns 1 and 2: ${quantities[name] ?? name}`]);
  }
  return pairs;
}

/** The number that a prompt is sorted by; null without one. */
export function sortValue(of, prompt) {
  const [kind, quantity] = state.sort.split(/:(.*)/s);
  const [first, second] = columns();
  if (kind === "value") return valueOf(of, first, prompt, quantity);
  if (kind !== "change" || !second) return null;
  const [a, b] = [valueOf(of, first, prompt, quantity), valueOf(of, second, prompt, quantity)];
  return a === null || b === null ? null : b - a;
}

/** Prompts that are found, in the order asked for. */
export function promptsShown() {
  const of = gallery();
  const words = state.find.toLowerCase().split(/\s+/).filter(Boolean);
  const found = of.prompts.filter((prompt) => {
    const text = `${prompt.number} ${prompt.id} ${prompt.text}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  if (!state.sort) return state.up ? found.reverse() : found;
  const key = new Map(found.map((prompt) => [prompt.id, sortValue(of, prompt.id)]));
  const last = state.up ? Infinity : -Infinity;
  const value = (prompt) => key.get(prompt.id) ?? last;
  return found.sort((a, b) => (state.up ? value(a) - value(b) : value(b) - value(a)) || a.number - b.number);
}

/** Whether equal samples of two models share noise. */
export function share(of, one, other) {
  const [a, b] = [modelOf(of, one), modelOf(of, other)];
  return Boolean(a && b && a.noise && a.noise === b.noise);
}

/** The wording that a sample was given; empty where the run does not say. */
export function wordingOf(of, model, condition, prompt, sample) {
  const number = modelOf(of, model).wordings[promptAt(of, prompt)]?.[conditionAt(of, condition)]?.[sample];
  return number === undefined ? "" : of.texts[number] ?? "";
}

/** How an image is named in a sentence. */
export function nameOf(of, [model, condition, prompt, sample]) {
  const number = of.prompts[promptAt(of, prompt)]?.number;
  return `${model}, ${labelOf(of, condition)}, prompt ${number}, sample ${Number(sample) + 1}`;
}
