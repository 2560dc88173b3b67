// Pieces of galleries: strips of images and traces of tokens, in the page or beside it.

import { make } from "./dom.js";

const urls = new Map();
let text = null;

function bytes([start, length]) {
  text ??= document.getElementById("pieces").textContent;
  return Uint8Array.from(atob(text.slice(start, start + length)), (letter) => letter.charCodeAt(0));
}

/** The URL of a strip, made once. */
export function stripUrl(reference) {
  if (typeof reference === "string") return `pieces/${reference}`;
  const key = reference[0];
  if (!urls.has(key)) {
    urls.set(key, URL.createObjectURL(new Blob([bytes(reference)], { type: "image/webp" })));
  }
  return urls.get(key);
}

async function inflated(content) {
  const stream = new Blob([content]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint16Array(await new Response(stream).arrayBuffer());
}

/** The numbers of a trace; null if unreadable. */
async function numbersOf(reference) {
  if (typeof reference !== "string") return inflated(bytes(reference));
  if (location.protocol === "file:") return null;
  const answer = await fetch(`pieces/${reference}`);
  return answer.ok ? inflated(await answer.arrayBuffer()) : null;
}

/** What a trace holds, array by array. */
function partsOf(model) {
  return model.wide ? ["tokens", "high", ...model.traced.slice(1)] : model.traced;
}

/** The codes of every image of a prompt, condition by condition, sample by sample; null if unreadable. */
export async function codesOf(model, reference) {
  const numbers = await numbersOf(reference);
  if (!numbers) return null;
  const each = numbers.length / partsOf(model).length;
  const low = numbers.subarray(0, each);
  return model.wide ? Array.from(low, (code, at) => code + numbers[each + at] * 65536) : low;
}

/** The arrays of a trace: by variable, numbers of one condition and sample; null if unreadable. */
export async function trace(model, reference, condition, sample, samples) {
  const cells = model.grid[0] * model.grid[1];
  const numbers = await numbersOf(reference);
  if (!numbers) return null;
  const parts = partsOf(model);
  const each = numbers.length / parts.length;
  const found = {};
  parts.forEach((name, place) => {
    const start = place * each + (condition * samples + sample) * cells;
    found[name] = Array.from(numbers.subarray(start, start + cells));
  });
  if (model.wide) found.tokens = found.tokens.map((low, at) => low + found.high[at] * 65536);
  return found;
}

/** An image of a strip as a button. */
export function imageButton(gallery, model, reference, sample, attributes) {
  const element = make("button", { type: "button", class: "im", ...attributes });
  place(element, gallery, model, reference, sample);
  return element;
}

/** Show one image of a strip as the background of an element. */
export function place(element, gallery, model, reference, sample) {
  const across = gallery.across;
  const down = Math.ceil(gallery.samples / across);
  const share = (at, of) => (of > 1 ? (100 * at) / (of - 1) : 0);
  element.style.backgroundImage = `url("${stripUrl(reference)}")`;
  element.style.backgroundSize = `${100 * across}% ${100 * down}%`;
  element.style.backgroundPosition =
    `${share(sample % across, across)}% ${share(Math.floor(sample / across), down)}%`;
  const [height, width] = model.shown;
  if (height !== width) element.style.aspectRatio = `${width} / ${height}`;
  if (height > width) element.style.width = "auto";
  else if (width > height) element.style.height = "auto";
  element.classList.toggle("crisp", Math.max(height, width) <= 64);
}
