"use strict";
// Answers as elements. One renderer shows them all: a list of objects is a table, and everything else is pairs of a
// name and a value. So a command that is added to the server needs no line here.

// How a value with this name looks.
const LOOKS = {
  idle: span,
  uptime: span,
  connected: span,
  seconds: (value) => (value < 10 ? `${value.toFixed(3)}s` : span(value)),
  held: (value) => `${value.toFixed(3)}s`,
  waited: milliseconds,
  longest: milliseconds,
  per_second: (value) => value.toFixed(1),
  at: (value) => `${dayName(Date.parse(value), Date.now())} ${clock.format(Date.parse(value))}`,
  away: (value) => value || "away",
  through: (value) => `${(value * 1000).toFixed(2)} ms through the server's queue and back`,
  network: (value) => `${(value * 1000).toFixed(2)} ms over the network and back`,
};

function milliseconds(value) {
  return `${(value * 1000).toFixed(1)} ms`;
}

function shownValue(key, value) {
  if (value === null || value === undefined) return "";
  if (LOOKS[key] && (typeof value === "number" || typeof value === "string")) return LOOKS[key](value);
  if (Array.isArray(value)) return value.join(", ");
  if (value === true || value === false) return value ? "yes" : "no";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

const isTable = (value) => Array.isArray(value) && value.length > 0 && typeof value[0] === "object";

// `jump(room, number)` is called when somebody taps a message's number.
function table(rows, jump) {
  const keys = Object.keys(rows[0]).filter((key) => key !== "type");
  const numeric = new Set(keys.filter((key) => rows.every((row) => row[key] === null || typeof row[key] === "number")));
  const cell = (row, key) => {
    if (key === "number" && row.room && jump) {
      return el("button", { type: "button", class: "link", onclick: () => jump(row.room, row.number) }, String(row.number));
    }
    return el("bdi", {}, shownValue(key, row[key]));
  };
  const head = keys.map((key) => el("th", { scope: "col", class: numeric.has(key) && "right" }, key.replace("_", " ")));
  const body = rows.map((row) =>
    el("tr", {}, keys.map((key) => el("td", { class: numeric.has(key) && "right" }, cell(row, key)))));
  // A wide table scrolls by itself; with tabindex, keys can scroll it, too.
  return el("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Table" },
    el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)));
}

function pairs(fields) {
  return el("dl", {}, Object.entries(fields).map(([key, value]) =>
    el("div", {}, el("dt", {}, key.replace("_", " ")), el("dd", {}, el("bdi", {}, shownValue(key, value))))));
}

// A QR code: one path, black on white in every colour scheme, because cameras expect it so.
function qrCode(rows) {
  let path = "";
  rows.forEach((row, y) => [...row].forEach((bit, x) => (path += bit === "1" ? `M${x} ${y}h1v1h-1z` : "")));
  return svg("svg", { class: "qr", role: "img", "aria-label": "QR code", viewBox: `0 0 ${rows.length} ${rows.length}`,
    "shape-rendering": "crispEdges" },
  svg("rect", { width: rows.length, height: rows.length, fill: "#fff" }), svg("path", { d: path, fill: "#000" }));
}

// Messages that a search found, or a page of the history: each leads to its place in the room.
function hits(messages, jump) {
  return el("ol", { class: "hits" }, messages.map((each) =>
    el("li", {}, el("button", { type: "button", onclick: () => jump(each.room, each.number) },
      el("span", { class: "where" }, el("bdi", {}, each.room), ` ${each.number} · ${LOOKS.at(each.at)}`),
      el("span", {}, nameOf(each.from), each.kind === "action" ? " " : ": ", el("bdi", { class: "text" }, each.text))))));
}

const WORDS = {
  search: (event) => (event.messages.length ? `${event.more ? "The newest " : ""}${counted(event.messages.length, "message")} for: ${event.words}` : `Nothing was found for: ${event.words}`),
  history: (event) => (event.messages.length ? `${event.room}, up to message ${event.last}` : `There are no messages in that part of ${event.room}.`),
  rooms: () => "Rooms",
  who: (event) => (event.room ? `People in ${event.room}` : "People"),
  topic: (event) => (event.topic ? `The topic of ${event.room} is: ${event.topic}` : `${event.room} has no topic.`),
  token: () => "Your token. Nobody else should know it. In another browser or over telnet, /resume with it takes your place.",
  qr: (event) => event.url,
  locks: (event) => (event.counted ? "Locks" : "The use of locks is not counted. Start the server with --lab or --trace to count it."),
};

// Any answer as elements, for a row of the conversation or for a sheet.
function answer(event, jump) {
  const { type, ref, ...fields } = event;
  const head = WORDS[type] ? WORDS[type](event) : type;
  const parts = [el("p", {}, el("bdi", {}, head))];
  if (type === "qr") return [qrCode(event.rows), ...parts];
  if (type === "topic") return parts;
  if (event.messages) return event.messages.length ? [...parts, hits(event.messages, jump)] : parts;
  const plain = Object.entries(fields).filter(([key, value]) => !isTable(value) && !(Array.isArray(value) && !value.length)
    && value !== null && !["room", "more", "counted"].includes(key));
  if (plain.length && !(type === "who")) parts.push(pairs(Object.fromEntries(plain)));
  for (const [key, value] of Object.entries(fields)) if (isTable(value) && (type !== "locks" || event.counted)) parts.push(table(value, jump));
  if (typeof event.more === "number" && event.more) parts.push(el("p", {}, `and ${event.more} more.`));
  return parts;
}

// The help on one command, or the list of them all.
function help(commands, about) {
  if (!about) {
    const rows = [{ command: "text", does: "say it in this room" }, { command: "//text", does: "say a text that begins with /" }];
    return [table([...rows, ...commands.map((each) => ({ command: each.usage, does: each.does }))])];
  }
  const parts = [el("p", {}, el("code", {}, about.usage), `: ${about.does}.`)];
  if (about.more) parts.push(el("p", {}, about.more));
  if (about.words.length > 1) parts.push(el("p", {}, `Also: ${about.words.slice(1).join(", ")}`));
  return parts;
}

// A notice or an error as a note, with what can be done about it to tap.
function said(event) {
  const action = GO_ON[event.next || event.code];
  const [label, line] = action ? action(event) : ["", ""];
  const actions = line && !line.includes("undefined") ? [{ label, line }] : null; // a field that this error lacks
  return { text: event.text, tone: event.type === "error" ? "error" : "", actions };
}

const GO_ON = {
  back: () => ["I am back", "/back"],
  delete: ({ room }) => ["Delete it for good", `/delete ${room} yes`],
  unignore: ({ name }) => ["Show it again", `/unignore ${name}`],
  threads: () => ["Show the threads", "/threads"],
  not_in_room: ({ room }) => [`Join ${room}`, `/join ${room}`],
  room_exists: ({ room }) => [`Join ${room}`, `/join ${room}`],
  unknown_room: ({ near }) => [`Join ${near}`, `/join ${near}`],
  name_taken: ({ near }) => [`Use ${near}`, `/nick ${near}`],
};
