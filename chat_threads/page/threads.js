"use strict";
// Draws what the server's threads, queues and locks do now: /threads.json and /locks.json, which the server answers
// even while a thread is stuck, because it reads them without a lock.

const MOST = { readers: 6, sessions: 7, writers: 3, others: 3, faults: 2 }; // boxes of each kind, about twenty together
const ROLES = { reader: "readers", history: "history", writer: "writers", lab: "faults" };
const STUCK = /^(is paused by|is slowed down by|waits for a full socket)/;
const IDLE = /^(waits for (input|messages|sessions|its session|a signal)|accepts connections|writes (what is logged|the trace))$/;
const BEHIND = /^(history\.py:\d+ settle|queues\.py:\d+ _wait_for_room)$/; // for the history
const SCALE = 10; // a bar is full with this many, or with the most so far

// How a thread is: the class of its box, what it does in words, and arrows to what it waits for or holds.
function stateOf(thread, locks) {
  const lock = locks.find((each) => (each.waiting || []).includes(thread.thread));
  const arrows = locks.filter((each) => each.holder === thread.thread).map((each) => ({ to: `lock ${each.lock}`, kind: "holds" }));
  if (thread.thread === "lab-history") arrows.push({ to: "thread history", kind: "holds" });
  if (lock) return { look: "stuck", words: `waits for ${lock.lock}`, arrows: [...arrows, { to: `lock ${lock.lock}`, kind: "waits" }] };
  if (BEHIND.test(thread.where) && thread.seconds > 0.2) {
    return { look: "stuck", words: "waits for history", arrows: [...arrows, { to: "thread history", kind: "waits" }] };
  }
  if (STUCK.test(thread.doing)) return { look: "stuck", words: thread.doing, arrows };
  if (arrows.length || thread.role === "lab") return { look: "holds", words: thread.doing, arrows };
  return { look: IDLE.test(thread.doing) ? "idle" : "busy", words: thread.doing, arrows };
}

// The threads of a column: those that are stuck first, then those that work.
function ordered(threads) {
  const order = ["stuck", "holds", "busy", "idle"];
  const asks = (thread) => (thread.session === "" ? 1 : 0); // nobody's yet, maybe this page's
  return threads.sort((one, other) => asks(one) - asks(other) || order.indexOf(one.look) - order.indexOf(other.look));
}

function threadBox(thread) {
  return el("li", { class: "box", "data-thread": thread.thread, "data-is": `thread ${thread.thread}` }, el("b"), el("span", { class: "doing" }), el("small"));
}

function showThread(box, thread) {
  const [name, doing, where] = box.children;
  box.className = `box ${thread.look}`;
  name.replaceChildren(thread.thread, ...(thread.session ? [" for ", el("bdi", {}, thread.session)] : []));
  doing.textContent = thread.words + (thread.seconds >= 0.1 ? `, ${seconds(thread.seconds)}` : "");
  where.textContent = thread.look === "idle" ? "" : thread.where;
}

function queueBox() {
  return el("li", { class: "box" }, el("b"), el("span"), el("div", { class: "bar" }, el("i")));
}

function showQueue(box, queue) {
  const [name, words, bar] = box.children;
  const full = Math.max(SCALE, queue.most || 0);
  name.replaceChildren(...(queue.session ? ["for ", el("bdi", {}, queue.session)] : [queue.name]));
  words.textContent = `${queue.waiting} waiting` + (queue.most ? `, most ${queue.most}` : "");
  bar.firstChild.style.width = `${Math.min(100, (100 * queue.waiting) / full)}%`;
  box.className = `box ${queue.waiting ? "holds" : ""}`;
}

function lockBox(lock) {
  return el("li", { class: "box", "data-lock": lock.lock, "data-is": `lock ${lock.lock}` }, el("b"), el("span", { class: "doing" }), el("span"), el("small"));
}

function showLock(box, lock) {
  const [name, held, waiting, counts] = box.children;
  const names = lock.waiting || [];
  box.className = `box ${names.length ? "stuck" : lock.holder ? "holds" : ""}`;
  name.textContent = lock.lock;
  held.textContent = lock.holder ? `held by ${lock.holder}, ${seconds(lock.held)}` : "free";
  const few = names.slice(0, 3).join(", ") + (names.length > 3 ? ` and ${names.length - 3} more` : "");
  waiting.textContent = names.length ? `${few} ${names.length === 1 ? "waits" : "wait"}` : "";
  counts.textContent = `taken ${lock.taken}, waited for ${lock.contended}`;
}

// Draw the first of the items, and say how many more there are.
function some(kind, items, make, show, more = 0, what = kind) {
  const shown = items.slice(0, MOST[kind] || items.length);
  arrange(byId(kind), shown, make, show);
  const left = items.length - shown.length + more;
  const element = byId(`more-${kind}`);
  if (element) element.textContent = left ? `and ${left} more ${what}` : "";
}

function draw(threads, locks) {
  const all = threads.threads.map((thread) => ({ ...thread, ...stateOf(thread, locks), id: thread.thread }));
  const columns = { readers: [], history: [], writers: [], faults: [], others: [] };
  for (const thread of all) columns[ROLES[thread.role] || "others"].push(thread);
  some("readers", ordered(columns.readers), threadBox, showThread, threads.more);
  some("history", columns.history, threadBox, showThread);
  some("writers", ordered(columns.writers), threadBox, showThread);
  some("faults", ordered(columns.faults), threadBox, showThread);
  byId("faults-title").hidden = !columns.faults.length;
  some("others", ordered(columns.others), threadBox, showThread, 0, "threads");

  const [history] = columns.history;
  const waiting = history && history.queue !== null ? [{ id: 1, name: "messages", waiting: history.queue, most: history.most }] : [];
  some("queue", waiting, queueBox, showQueue);
  const queues = columns.readers
    .filter((reader) => reader.session && reader.queue !== null)
    .map((reader) => ({ id: reader.thread, session: reader.session, waiting: reader.queue, most: reader.most }))
    .sort((one, other) => other.waiting - one.waiting || (other.most || 0) - (one.most || 0));
  some("sessions", queues, queueBox, showQueue, threads.more, "queues");
  const urgent = (lock) => (lock.waiting || []).length * 2 + (lock.holder && lock.held > 0.1 ? 1 : 0);
  some("locks", locks.map((lock) => ({ ...lock, id: lock.lock })).sort((one, other) => urgent(other) - urgent(one)), lockBox, showLock);
  drawArrows(all);
  return all;
}

// --- arrows from threads to what they wait for or hold -----------------------------------------------------------

function drawArrows(threads) {
  const picture = byId("picture").getBoundingClientRect();
  const place = (element) => {
    const box = element.getBoundingClientRect();
    return { left: box.left - picture.left, right: box.right - picture.left, top: box.top - picture.top, bottom: box.bottom - picture.top };
  };
  const boxes = new Map();
  for (const box of document.querySelectorAll("[data-is]")) boxes.set(box.dataset.is, box);
  const lines = [];
  for (const thread of threads) {
    for (const { to, kind } of thread.arrows) {
      const [one, other] = [boxes.get(`thread ${thread.thread}`), boxes.get(to)];
      if (!one || !other) continue;
      const [from, end] = nearest(place(one), place(other));
      const angle = (Math.atan2(end.y - from.y, end.x - from.x) * 180) / Math.PI;
      lines.push(svg("line", { class: kind, x1: from.x, y1: from.y, x2: end.x, y2: end.y }));
      lines.push(svg("path", { class: `${kind}-end`, d: "M2 0 L-16 -9 L-16 9 Z", transform: `translate(${end.x} ${end.y}) rotate(${angle})` }));
    }
  }
  byId("arrows").replaceChildren(...lines);
}

// Where a line from one box to another begins and ends: on the sides that face each other, at the other's nearest point.
function nearest(one, other) {
  const [x, y] = [(one.left + one.right) / 2, (one.top + one.bottom) / 2];
  const within = (at, least, most) => Math.min(Math.max(at, least + 14), most - 14);
  const [toX, toY] = [within(x, other.left, other.right), within(y, other.top, other.bottom)];
  if (one.right <= other.left) return [{ x: one.right, y }, { x: other.left, y: toY }];
  if (other.right <= one.left) return [{ x: one.left, y }, { x: other.right, y: toY }];
  if (one.top >= other.bottom) return [{ x, y: one.top }, { x: toX, y: other.bottom }];
  return [{ x, y: one.bottom }, { x: toX, y: other.top }];
}

// --- the loop -----------------------------------------------------------------------------------------------------

// What the sentence at the top says: who keeps whom waiting, in words that can be read out.
function summary(threads, locks) {
  const waits = (count) => (count ? counted(count, "thread waits", "threads wait") : "nobody waits");
  const held = locks.filter((lock) => lock.holder && (lock.held > 0.5 || (lock.waiting || []).length));
  const words = held.map((lock) => `${lock.lock} is held by ${lock.holder}, and ${waits((lock.waiting || []).length)}.`);
  const history = threads.find((thread) => thread.thread === "history");
  const behind = threads.filter((thread) => thread.arrows.some((arrow) => arrow.to === "thread history" && arrow.kind === "waits"));
  if (history && (history.look === "stuck" || behind.length)) words.push(`history ${history.words}, and ${waits(behind.length)} for it.`);
  return words.join(" ") || "No lock keeps anybody waiting.";
}

let last = null;

async function look() {
  const threads = await ask("/threads.json");
  const locks = await ask("/locks.json");
  last = [threads, locks.locks];
  say(summary(draw(...last), locks.locks));
}

addEventListener("resize", () => last && draw(...last));
repeat(look);
