"use strict";
// Answers as elements. One renderer shows them all: a list of objects is a table, and everything else is pairs of a
// name and a value. So a command that is added to the server needs no line here.

function shown(key, value) {
  if (value == null) return "";
  if (value === true) return "yes";
  if (/^(idle|uptime|connected)$/.test(key)) return span(value);
  if (value % 1) return value.toFixed(4);
  if (key === "at") return new Date(value).toLocaleString();
  return Array.isArray(value) ? value.join(", ") : String(value);
}

function table(rows) {
  const keys = Object.keys(rows[0]);
  const number = (key) => rows.every((row) => row[key] === null || typeof row[key] === "number") && "number";
  const cell = (key, value) =>
    key === "room" ? button(value, `/join ${value}`, "link") : el("bdi", {}, shown(key, value));
  const head = keys.map((key) => el("th", { scope: "col", class: number(key) }, key));
  const body = rows.map((row) =>
    el("tr", {}, keys.map((key) => el("td", { class: number(key) }, cell(key, row[key])))));
  // A wide table scrolls by itself; with tabindex, keys can scroll it, too.
  return el("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Table" },
    el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)));
}

// Messages that a search found, or a page of the history: each leads to its place in the room.
function hits(messages) {
  return messages.map(({ room, number, at, from, text }) =>
    el("button", { class: "hit", "data-line": `/goto ${room} ${number}` },
      el("small", {}, `${room} ${number}, ${shown("at", at)}`),
      el("span", {}, nameOf(from), ": ", el("bdi", {}, text || "removed"))));
}

// A QR code: black on white in every colour scheme, because cameras expect it so.
function qrCode(rows) {
  const squares = rows.map((row, y) => [...row].map((bit, x) => (bit === "1" ? `M${x} ${y}h1v1h-1z` : "")).join(""));
  return svg("svg", { class: "qr", role: "img", "aria-label": "QR code", viewBox: `0 0 ${rows.length} ${rows.length}` },
    svg("path", { d: squares.join("") }));
}

// Any answer as elements, for a row of the conversation or for a sheet.
function answer({ type, ref, more, ...fields }) {
  const parts = [el("b", {}, type)];
  const pairs = Object.entries(fields).filter(([, value]) => given(value) && typeof [value].flat()[0] !== "object");
  if (type === "qr") return [qrCode(fields.rows), el("p", {}, fields.url)];
  parts.push(el("dl", {}, pairs.map(([key, value]) =>
    [el("dt", {}, key), el("dd", {}, el("bdi", {}, shown(key, value)))])));
  for (const [key, value] of Object.entries(fields)) {
    if (!Array.isArray(value) || typeof value[0] !== "object") continue;
    parts.push(key === "messages" ? hits(value) : table(value));
  }
  if (more) parts.push(el("p", {}, `and ${more === true ? "" : more} more`));
  return parts.flat();
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

// A notice or an error as a row.
function said(event) {
  const line = (NEXT[event.next || event.code] || "").replace(/{(\w+)}/, (_, field) => event[field] || "");
  return { text: event.text, look: event.type, line: / $/.test(line) ? "" : line };
}
