// Elements are made here, with text as text: no string of a run is ever read as HTML.

/** An element with attributes and children; a string becomes text, null is left out. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null));
  return element;
}

/** A choice among [value, text] pairs, under a label. */
export function choice(label, pairs, chosen, changed) {
  const select = make("select", { onchange: () => changed(select.value) });
  for (const [value, text] of pairs) {
    select.append(make("option", { value, selected: value === chosen }, text));
  }
  return make("label", {}, label, select);
}

/** A button that does something. */
export function button(text, pressed, attributes = {}) {
  return make("button", { type: "button", onclick: pressed, ...attributes }, text);
}

/** Put text into the clipboard, from a file too, and say so on the button for a moment. */
export async function copy(text, from) {
  const said = from.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", { class: "live" });
    area.value = text;
    from.after(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    from.focus();
  }
  from.textContent = "Copied";
  setTimeout(() => { from.textContent = said; }, 1500);
}

/** Tell a screen reader something that the eye sees. */
export function say(text) {
  let live = document.getElementById("said");
  if (!live) {
    live = make("div", { id: "said", class: "live", role: "status" });
    document.body.append(live);
  }
  live.textContent = text;
}

/** What a script element holds, parsed; null where it holds nothing. */
export function held(id) {
  const text = document.getElementById(id).textContent;
  return text ? JSON.parse(text) : null;
}
