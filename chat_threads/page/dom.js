"use strict";
// Making elements. Text becomes text nodes and nothing else: no string is ever read as HTML, whoever it is from.

const byId = (id) => document.getElementById(id);

// An element: el("button", { class: "main", onclick: send }, "Send"). Attributes that are false, null or undefined are
// left out. Children are elements and strings; false and null are left out.
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== false && child !== null && child !== undefined));
  return made;
}

function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// Give `parent` one child for each item, in order. A child whose item has the same id stays the same element, so that
// nothing loses its focus, a selection survives, and a screen reader hears only what is new.
function arrange(parent, items, make, update) {
  const had = parent.arranged || new Map();
  const kept = new Map();
  for (const item of items) kept.set(item.id, had.get(item.id) || make(item));
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

// A text with its http and https addresses as links.
function linked(text) {
  const parts = [];
  let from = 0;
  for (const found of text.matchAll(/https?:\/\/[^\s<>"]+/gi)) {
    let address = found[0].replace(/[.,;:!?'*_]+$/, ""); // these end the sentence, not the address
    if (address.endsWith(")") && !address.includes("(")) address = address.slice(0, -1);
    let parsed;
    try {
      parsed = new URL(address);
    } catch (error) {
      continue;
    }
    if (parsed.protocol !== "http:" && parsed.protocol !== "https:") continue;
    parts.push(text.slice(from, found.index));
    parts.push(el("a", { href: parsed.href, target: "_blank", rel: "noopener noreferrer" }, address));
    from = found.index + address.length;
  }
  return [...parts, text.slice(from)];
}

// One of eight colours, the same for a name wherever it is.
function colourOf(name) {
  let sum = 0;
  for (const letter of fold(name)) sum = (sum * 31 + letter.codePointAt(0)) % 65521;
  return `c${sum % 8}`;
}

// A name in its colour. <bdi> keeps a name that is written from right to left from turning its neighbours around.
function nameOf(name) {
  return el("bdi", { class: `name ${colourOf(name)}` }, name);
}

const CLOCK = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const clock = new Intl.DateTimeFormat(undefined, CLOCK);
const clockSeconds = new Intl.DateTimeFormat(undefined, { ...CLOCK, second: "2-digit" });
const fullDay = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });

function dayOf(at) {
  const date = new Date(at);
  return `${date.getFullYear()}-${date.getMonth() + 1}-${date.getDate()}`;
}

// The day in words.
function dayName(at, now) {
  if (dayOf(at) === dayOf(now)) return "Today";
  if (dayOf(at) === dayOf(now - 86400000)) return "Yesterday";
  return fullDay.format(at);
}

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

// Up to three names, or two and a number.
function listed(names) {
  if (names.length > 3) return `${names[0]}, ${names[1]} and ${names.length - 2} others`;
  return names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names[names.length - 1]}` : names[0];
}
