"use strict";
// Answers as elements. One renderer shows them all: the server's text for people, and each list of objects as a table.
// An answer with neither is pairs of a name and a value. So a command that is added to the server needs no line here.

function shown(key, value) {
  if (value == null) return "";
  if (value === true) return "yes";
  if (key === "away") return value || key;
  if (key === "idle") return span(value);
  if (/^(seconds|waited|longest|held)$/.test(key)) return `${+value.toFixed(4)} s`;
  if (key === "at") return new Date(value).toLocaleString();
  return Array.isArray(value) ? value.join(", ") : String(value);
}

const HEADS = { account: "logged in", action: "what", at: "when", holder: "held by", seconds: "for" };

function table(rows) {
  const keys = [...new Set(rows.flatMap(Object.keys))];
  const number = (key) => rows.every((row) => row[key] == null || typeof row[key] === "number") && "number";
  const cell = (key, value) =>
    key === "room" ? button(value, `/join ${value}`, "link") : el("bdi", {}, shown(key, value));
  const head = keys.map((key) => el("th", { scope: "col", class: number(key) }, HEADS[key] || key));
  const body = rows.map((row) =>
    el("tr", {}, keys.map((key) => el("td", { class: number(key) }, cell(key, row[key])))));
  // A wide table scrolls by itself; with tabindex, keys can scroll it, too.
  return el("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Table" },
    el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)));
}

// Messages that a search found, or a page of the history: each leads to its place in the room.
function hits(messages) {
  return messages.map(({ room, number, at, from, kind, text }) =>
    el("button", { class: "hit", "data-line": `/goto ${room} ${number}` },
      el("small", {}, `${room} ${number}, ${shown("at", at)}`),
      el("span", {}, nameOf(from), kind === "action" ? " " : ": ", el("bdi", {}, text || "removed"))));
}

// A QR code: black on white in every colour scheme, because cameras expect it so.
function qrCode(rows) {
  const squares = rows.map((row, y) => [...row].map((bit, x) => (bit === "1" ? `M${x} ${y}h1v1h-1z` : "")).join(""));
  return svg("svg", { class: "qr", role: "img", "aria-label": "QR code", viewBox: `0 0 ${rows.length} ${rows.length}` },
    svg("path", { d: squares.join("") }));
}

// Any answer as elements, for a row of the conversation or for a sheet; its text stands above them.
function answer({ type, ref, text, more, ...fields }) {
  if (type === "qr") return [qrCode(fields.rows), el("p", {}, fields.url)];
  if (type === "bans") return []; // the text has all
  const lists = Object.entries(fields).filter(([, value]) => typeof value?.[0] === "object");
  const parts = lists.map(([key, value]) => (key === "messages" ? hits(value) : table(value))).flat();
  const { room, before, after, older } = fields;
  if (more && !older) parts.push(el("p", {}, `and ${more} more`));
  const ways = [older && button("Older", `/search ${older}`),
    before && button("Older", `/history ${room} before ${before}`),
    after && button("Newer", `/history ${room} after ${after}`)].filter(given);
  if (ways[0]) parts.push(el("span", { class: "actions" }, ways));
  if (text) return parts;
  const pairs = Object.entries(fields).map(([key, value]) =>
    [el("dt", {}, key), el("dd", {}, el("bdi", {}, shown(key, value)))]);
  return [el("b", {}, `/${type}`), ...(lists[0] ? parts : [el("dl", {}, pairs)])];
}

// A button that types a line. Most of what can be tapped is this.
function button(label, line, kind = "") {
  return el("button", { class: kind, "data-line": line }, label);
}

// What people can do next, after a notice or an error: a line to tap.
const NEXT = {
  delete: "/delete {room} yes",
  unignore: "/unignore {name}",
  not_in_room: "/join {room}",
  room_exists: "/join {room}",
  unknown_room: "/join {near}",
  name_taken: "/nick {near}",
};

// A notice, an error or an answer as a row.
function said(event) {
  const line = (NEXT[event.next || event.code] || "").replace(/{(\w+)}/, (_, field) => event[field] || "");
  return { text: event.text, look: event.code && event.type, line: / $/.test(line) ? "" : line, answers: answer(event) };
}
