"use strict";
// The conversation on the screen: the rows of one room, and where it is scrolled to.

const NEAR = 900; // pixels from an end of the rows at which more of the history is asked for
const AT_END = 48; // pixels from the end that still count as the end
const TOGETHER = 5 * 60000; // milliseconds within which somebody's messages stand under one name

class Conversation {
  // `does` has the functions more(room, "before" or "after"), jump(room, number), line(text), again(item), drop(item),
  // edit(item), read() and settings().
  constructor(does) {
    this.does = does;
    this.scroller = byId("scroller");
    this.log = byId("log");
    this.room = null;
    this.follow = true; // whether the newest row stays in view
    this.target = 0; // the number of a message to scroll to, once it is there
    this.scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    // The keyboard of a phone makes the place smaller: the newest row stays above it.
    new ResizeObserver(() => this.follow && this.toEnd()).observe(this.scroller);
    byId("to-end").addEventListener("click", () => this.newest());
  }

  // --- scrolling ----------------------------------------------------------------------------------------------

  get gap() {
    return this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight;
  }

  scrolled() {
    this.follow = this.gap < AT_END && (!this.room || this.room.attached);
    this.does.read();
    this.more();
  }

  toEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  newest() {
    this.follow = true;
    if (this.room && !this.room.attached) this.does.more(this.room, "newest");
    this.toEnd();
    this.does.read();
  }

  // Ask for more of the history where the rows end soon.
  more() {
    const room = this.room;
    if (!room || room.peer || room.loading) return;
    const top = this.scroller.scrollTop;
    if (top < NEAR && room.first > 1 && !(room.rows[0] && room.rows[0].nothingBefore)) this.does.more(room, "before");
    else if (!room.attached && this.gap < NEAR && room.end) this.does.more(room, "after");
  }

  // The first row in view, and how far it is from the top: it stays there, whatever is added above it.
  anchor(ids) {
    const top = this.scroller.scrollTop;
    for (const child of this.log.children) {
      if (child.offsetTop + child.offsetHeight > top && ids.has(child.rowId)) {
        return { child, offset: child.offsetTop - top };
      }
    }
    return null;
  }

  // --- rows ---------------------------------------------------------------------------------------------------

  // Show the room. `waiting` are the items of the outbox that belong here.
  show(room, waiting) {
    const changed = room !== this.room;
    if (changed) {
      this.room = room;
      this.follow = true;
      this.target = 0;
    }
    const items = room ? this.items(room, waiting) : [];
    if (changed || (room && room.loading) || this.quietNext) this.quiet();
    this.quietNext = room && room.loading !== "";
    const ids = new Set(items.map((item) => item.id));
    const anchor = changed || this.follow ? null : this.anchor(ids);
    arrange(this.log, items, (item) => this.make(item), (child, item) => this.update(child, item));
    if (anchor) this.scroller.scrollTop = anchor.child.offsetTop - anchor.offset;
    const goal = this.target ? this.log.querySelector(`[data-number="${Number(this.target)}"]`) : changed && this.log.querySelector(".divider");
    if (goal) this.goTo(goal);
    else if (this.follow) this.toEnd();
    this.more();
  }

  goTo(goal) {
    const top = goal.offsetTop - this.scroller.clientHeight / 3;
    this.follow = false;
    this.scroller.scrollTop = top;
    if (this.target) {
      goal.classList.add("found");
      setTimeout(() => goal.classList.remove("found"), 4000);
      this.target = 0;
    }
    this.follow = this.gap < AT_END && this.room.attached;
  }

  // A screen reader stays silent while old messages come, or another room.
  quiet() {
    this.log.setAttribute("aria-live", "off");
    this.log.setAttribute("aria-busy", "true");
    clearTimeout(this.loud);
    this.loud = setTimeout(() => {
      this.log.setAttribute("aria-live", "polite");
      this.log.setAttribute("aria-busy", "false");
    }, 400);
  }

  // The rows with the days, the place where the unread messages begin, and what waits to be sent.
  items(room, waiting) {
    const settings = this.does.settings();
    const items = [];
    let day = "";
    let last = null;
    let divided = !room.divider;
    for (const row of room.rows) {
      if (row.presence && !settings.joins) continue;
      if (dayOf(row.at) !== day && row.kind === "message") {
        day = dayOf(row.at);
        items.push({ id: "day " + day, kind: "day", at: row.at });
        last = null;
      }
      if (!divided && row.number > room.divider) {
        divided = true;
        items.push({ id: "divider", kind: "divider" });
        last = null;
      }
      row.follows = last !== null && last.kind === "message" && row.kind === "message" && last.from === row.from
        && !row.action && !last.action && row.at - last.at < TOGETHER;
      items.push(row);
      last = row;
    }
    for (const item of waiting) {
      if (!item.came) items.push({ id: item.ref, kind: "waiting", item, state: item.state });
    }
    return items;
  }

  make(item) {
    const child = el("li", {});
    child.rowId = item.id;
    return child;
  }

  // Fill or refill an element: most rows never change, and are left alone.
  update(child, item) {
    const looks = `${item.kind} ${item.follows || ""} ${item.changed || 0} ${item.state || ""} ${this.does.settings().looks}`;
    if (child.looks === looks) return;
    const wasWaiting = child.looks && item.kind === "message";
    child.looks = looks;
    child.className = `row ${item.kind}${item.follows ? " follows" : ""}${item.mention ? " mention" : ""}${item.mine ? " mine" : ""}${wasWaiting ? "" : ""}${item.tone ? " " + item.tone : ""}${item.state ? " " + item.state : ""}`;
    child.replaceChildren(...ROWS[item.kind](item, this.does));
    if (item.number) child.dataset.number = item.number;
  }
}

function timeOf(row, settings) {
  if (settings.timestamps === "off") return null;
  const form = settings.timestamps === "seconds" ? clockSeconds : clock;
  return el("time", { datetime: new Date(row.at).toISOString(), title: new Date(row.at).toLocaleString() }, form.format(row.at));
}

function messageRow(row, does, extra = []) {
  const settings = does.settings();
  const head = el("span", { class: "head" }, nameOf(row.from), timeOf(row, settings),
    settings.numbers && row.number ? el("span", { class: "number" }, String(row.number)) : null);
  const text = el("bdi", { class: "text", dir: "auto" }, row.action ? nameOf(row.from) : null, row.action ? " " : null, linked(row.text));
  return [row.action ? el("span", { class: "head" }, timeOf(row, settings)) : head, text, ...extra];
}

// The elements of each kind of row.
const ROWS = {
  message: (row, does) => messageRow(row, does),
  day: (row) => [el("span", {}, dayName(row.at, Date.now()))],
  divider: () => [el("span", {}, "New")],

  waiting({ item }, does) {
    const row = { from: does.myName(), at: item.at, text: item.request.text, action: item.request.type === "action" };
    const state = { waiting: "waiting", sent: "sending", refused: item.why, unsure: "It may have arrived or not." }[item.state];
    const buttons = item.state === "refused" || item.state === "unsure"
      ? el("span", { class: "actions" },
        el("button", { type: "button", onclick: () => does.again(item) }, "Send again"),
        el("button", { type: "button", onclick: () => does.edit(item) }, "Edit"),
        el("button", { type: "button", onclick: () => does.drop(item) }, "Drop"))
      : null;
    return messageRow(row, does, [el("span", { class: "fate" }, state), buttons].filter((each) => each));
  },

  note(row, does) {
    const text = row.names ? `${listed(row.names)} ${row.event}.` : row.text;
    const parts = text ? [el("bdi", { class: "text", dir: "auto" }, linked(text))] : [];
    if (row.answer) parts.push(...answer(row.answer, does.jump));
    if (row.help) parts.push(...help(row.help.commands, row.help.about));
    if (row.actions) {
      parts.push(el("span", { class: "actions" }, row.actions.map((each) =>
        el("button", { type: "button", onclick: () => does.line(each.line) }, each.label))));
    }
    return [el("div", { class: "box" }, parts)];
  },
};
