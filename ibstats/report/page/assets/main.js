// Start: what the page does beyond what it says.

import { copy } from "./dom.js";
import { listen, readHash, state } from "./state.js";
import { showPrompt, startGallery } from "./gallery.js";
import { startOne } from "./one.js";
import { startStars } from "./stars.js";
import { startData } from "./data.js";
import { showCode, startCodes } from "./codes.js";
import { gallery } from "./album.js";

const root = document.documentElement;

function startTheme() {
  const button = document.getElementById("theme");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const name = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  try {
    root.dataset.theme = localStorage.getItem("ibstats-theme") ?? "";
  } catch { /* a page on disk may have no storage */ }
  if (!root.dataset.theme) delete root.dataset.theme;
  button.hidden = false;
  name();
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem("ibstats-theme", root.dataset.theme);
    } catch { /* as above */ }
    name();
  });
}

/** Mark the section in view in the contents. */
function startContents() {
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const [name, link] of links) link.setAttribute("aria-current", String(name === entry.target.id));
    }
  }, { rootMargin: "-20% 0px -70% 0px" });
  for (const name of links.keys()) {
    const section = document.getElementById(name);
    if (section) watcher.observe(section);
  }
}

/** A dot of a chart opens the images of its prompt, or those that use its code. */
function startDots() {
  document.addEventListener("click", (event) => {
    const rank = event.target.closest?.("circle[data-code]");
    if (rank) {
      const { model, experiment } = rank.closest("svg").dataset;
      showCode(experiment, model, rank.dataset.code);
      return;
    }
    const dot = event.target.closest?.("circle[data-prompt]");
    const drawn = dot?.closest("svg[data-model]");
    if (!drawn) return;
    const { model, experiment } = drawn.dataset;
    const conditions = drawn.dataset.opens ? JSON.parse(drawn.dataset.opens) : [];
    showPrompt(experiment, conditions.map((condition) => [model, condition]), dot.dataset.prompt);
  });
}

/** On paper everything is open. */
function startPrint() {
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("main details:not([open])")];
    for (const one of opened) one.open = true;
  });
  window.addEventListener("afterprint", () => { for (const one of opened) one.open = false; });
}

function startCopies() {
  for (const button of document.querySelectorAll("button[data-copies]")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(document.getElementById(button.dataset.copies).textContent, button));
  }
}

readHash();
startTheme();
startContents();
startGallery();
startCodes();
startStars();
startOne();
startData();
startDots();
startPrint();
startCopies();
window.addEventListener("hashchange", readHash);
if (location.hash.includes("=") && document.getElementById("images")) document.getElementById("images").scrollIntoView();
