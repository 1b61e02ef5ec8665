"use strict";
// Draws the trip of one message as a timeline: through the threads and queues, and then to each member. The address
// says which: /trace?room=lab2&number=12. Without a number it is always the newest one.

const MEMBERS = 12; // rows for members; the slowest come first
const STAGES = [
  // a stage ends with the field; what it is; whether the message only waits in it
  ["queued", "reader: reads and checks", false],
  ["taken", "waits in History's queue", true],
  ["committed", "history: numbers, commits", false],
  ["published", "waits for the Publisher", true],
];

const wanted = new URLSearchParams(location.search);
let room = wanted.get("room") || "";
let number = /^[0-9]{1,15}$/.test(wanted.get("number") || "") ? Number(wanted.get("number")) : 0; // 0: the newest
if (room && !room.startsWith("#")) room = `#${room}`;
let shown = null;

function query() {
  const asked = new URLSearchParams();
  if (room) asked.set("room", room.slice(1));
  if (number) asked.set("number", number);
  return String(asked) ? `?${asked}` : "";
}

// The stages as rows: what happens, from and to which millisecond; `to` is null if that is not over yet.
function stagesOf(trip) {
  const rows = [];
  let from = 0;
  for (const [field, what, waits] of STAGES) {
    if (from === null) break;
    rows.push({ id: field, what, from, to: trip[field], waits });
    from = trip[field];
  }
  return rows;
}

// The members as rows, the slowest first, from the moment at which the message was published.
function membersOf(trip) {
  const since = trip.published ?? trip.committed ?? 0;
  const last = (member) => member.written ?? Infinity;
  return [...trip.members]
    .sort((one, other) => (last(one) === last(other) ? 0 : last(other) - last(one)))
    .slice(0, MEMBERS)
    .map((member) => ({
      id: member.name,
      name: member.name,
      from: Math.max(0, member.queued - since),
      to: member.written === null ? null : Math.max(0, member.written - since),
      waits: true,
    }));
}

function milliseconds(number) {
  return `${number.toFixed(number < 10 ? 2 : number < 1000 ? 1 : 0)} ms`;
}

function makeRow() {
  return el(
    "div",
    { class: "row", role: "row" },
    el("span", { role: "rowheader" }),
    el("div", { role: "cell", class: "track" }, el("i")),
    el("span", { role: "cell", class: "ms" }),
  );
}

function drawRow(made, row, end) {
  const [what, track, time] = made.children;
  what.replaceChildren(...(row.name === undefined ? [row.what] : ["to ", el("bdi", {}, row.name)]));
  const to = row.to === null ? end : row.to;
  track.className = `track ${row.to === null ? "missing" : row.waits ? "waiting" : ""}`;
  track.firstChild.style.left = `${Math.min(99, (100 * row.from) / end)}%`;
  track.firstChild.style.width = `${Math.max(0, (100 * (to - row.from)) / end)}%`;
  const began = row.name === undefined ? "" : `queued ${milliseconds(row.from)}, written `;
  time.textContent = began + (row.to === null ? "not yet" : milliseconds(row.name === undefined ? row.to - row.from : row.to));
}

// Draw rows on a scale of their own; return its end in milliseconds.
function drawRows(id, rows) {
  const end = Math.max(0.001, ...rows.map((row) => Math.max(row.from, row.to || 0)));
  arrange(byId(id), rows, makeRow, (made, row) => drawRow(made, row, end));
  return end;
}

function draw(trip) {
  byId("title").replaceChildren(`Message ${trip.number} of `, el("bdi", {}, trip.room), ", by ", el("bdi", {}, trip.from));
  document.title = `Message ${trip.number} of ${trip.room}`;
  const end = drawRows("stages", stagesOf(trip));
  byId("stages-title").textContent = `From the reader to the Publisher: ${milliseconds(end)}`;
  drawRows("members", membersOf(trip));
  const all = trip.members.length + trip.more;
  const left = all - Math.min(MEMBERS, trip.members.length);
  byId("members-title").textContent = `Then to ${counted(all, "member")}${left ? `, of whom the ${MEMBERS} slowest` : ""}, after it was published`;
  const open = trip.members.filter((member) => member.written === null).length;
  const last = Math.max(0, ...trip.members.map((member) => member.written ?? 0));
  say(open ? `Not written to ${counted(open, "member")} yet.` : `Written to all within ${milliseconds(last)}.`);
}

async function look() {
  const trip = await ask(`/trace.json${query()}`);
  shown = trip;
  room = room || (number ? trip.room : "");
  draw(trip);
  byId("older").disabled = trip.number <= 1;
}

const soon = repeat(look, 1000);

// Show another message, and keep the address so that it can be sent to somebody.
function go(to) {
  if (to && shown) room = shown.room;
  number = to;
  byId("newest").setAttribute("aria-pressed", String(!to));
  history.replaceState(null, "", `/trace${query()}`);
  soon();
}

byId("newest").setAttribute("aria-pressed", String(!number));
byId("older").addEventListener("click", () => go(Math.max(1, (number || (shown ? shown.number : 1)) - 1)));
byId("newer").addEventListener("click", () => go((number || (shown ? shown.number : 0)) + 1));
byId("newest").addEventListener("click", () => go(0));
