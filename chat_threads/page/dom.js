"use strict";
// Making elements. Text becomes text nodes and nothing else: no string is ever read as HTML, whoever it is from.

const byId = (id) => document.getElementById(id);

// An element: el("button", { class: "main", onclick: send }, "Send"). Attributes and children that are false, null or
// undefined are left out.
function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

const given = (value) => value !== false && value != null;

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (given(value)) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(2).filter(given));
  return made;
}

// Give `parent` one child for each item, in order. A child whose item has the same id stays the same element, so that
// nothing loses its focus, a selection survives, and a screen reader hears only what is new.
function arrange(parent, items, make, update) {
  const had = parent.arranged || new Map();
  const kept = new Map(items.map((item) => [item.id, had.get(item.id) || make(item)]));
  for (const [id, child] of had) if (kept.get(id) !== child) child.remove();
  let next = parent.firstElementChild;
  for (const item of items) {
    const child = kept.get(item.id);
    if (update) update(child, item);
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
  }
  parent.arranged = kept;
}

// A text with its http and https addresses as links. Signs at the end belong to the sentence.
function linked(text) {
  const parts = [];
  let from = 0;
  for (const found of text.matchAll(/https?:\/\/[^\s<>"]*[^\s<>".,;:!?'*)]/gi)) {
    const link = el("a", { href: found[0], target: "_blank", rel: "noopener noreferrer" }, found[0]);
    parts.push(text.slice(from, found.index), link);
    from = found.index + found[0].length;
  }
  return [...parts, text.slice(from)];
}

// A name in its colour. <bdi> keeps a name that is written from right to left from turning its neighbours around.
function nameOf(name) {
  const sum = [...fold(name)].reduce((so_far, letter) => (so_far * 7 + letter.codePointAt(0)) % 101, 0);
  return el("bdi", { class: `name c${sum % 4}` }, name);
}

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const calendar = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });

// A time span, short: 42s, 5m, 3h, 2d.
function span(seconds) {
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["m", 60]]) {
    if (seconds >= size) return `${Math.floor(seconds / size)}${unit}`;
  }
  return `${Math.floor(seconds)}s`;
}

function counted(number, one, many = one + "s") {
  return `${number} ${number === 1 ? one : many}`;
}
