"use strict";
// The conversation on the screen: the rows of one room, and where it is scrolled to.

const NEAR = 900; // pixels from an end of the rows at which more of the history is asked for
const AT_END = 48; // pixels from the end that still count as the end
const TOGETHER = 5 * 60000; // milliseconds within which somebody's messages stand under one name

class Conversation {
  constructor(app) {
    this.app = app;
    this.scroller = byId("scroller");
    this.log = byId("log");
    this.room = null;
    this.follow = true; // whether the newest row stays in view
    this.target = 0; // the number of a message to scroll to, once it is there
    this.scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    // The keyboard of a phone makes the place smaller: the newest row stays above it.
    new ResizeObserver(() => this.keepEnd()).observe(this.scroller);
    byId("to-end").addEventListener("click", () => this.newest());
  }

  get gap() {
    return this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight;
  }

  scrolled() {
    const { room } = this;
    if (!room || room.loading === "around") return; // the rows are gone, and others will come
    const atEnd = this.gap < AT_END && room.attached;
    if (atEnd !== this.follow) this.app.draw(); // the button to the newest row comes or goes
    this.follow = atEnd;
    this.app.read();
    this.more();
  }

  keepEnd() {
    if (this.follow) this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  newest() {
    if (this.room && !this.room.attached) this.app.load(this.room, "around", this.room.last);
    this.follow = true;
    this.keepEnd();
    this.app.read();
  }

  // Ask for more of the history where the rows end soon.
  more() {
    const { room } = this;
    if (!room || room.peer || room.loading) return;
    if (this.scroller.scrollTop < NEAR && room.first > 1 && !room.whole) this.app.load(room, "before", room.first);
    else if (!room.attached && this.gap < NEAR && room.end) this.app.load(room, "after", room.end);
  }

  // Show the room. `waiting` are the items of the outbox that belong here.
  show(room, waiting) {
    const changed = room !== this.room;
    if (changed) Object.assign(this, { room, follow: true });
    if (changed || this.wasLoading || room?.loading) this.quiet();
    this.wasLoading = room?.loading;
    const rows = room ? this.rows(room, waiting) : [];
    // The first row in view stays where it is, whatever is added above it.
    const ids = new Set(rows.map((row) => row.id));
    const top = this.scroller.scrollTop;
    const anchor = !this.follow && [...this.log.children].find((child) =>
      child.offsetTop + child.offsetHeight > top && ids.has(child.id));
    const offset = anchor ? anchor.offsetTop - top : 0;
    arrange(this.log, rows, ({ id }) => el("li", { id }), (child, row) => this.fill(child, row));
    if (anchor) this.scroller.scrollTop = anchor.offsetTop - offset;
    const goal = this.target ? this.log.querySelector(`[data-number="${this.target}"]`) : changed && byId("divider");
    if (goal) this.goTo(goal);
    else this.keepEnd();
    this.more();
  }

  goTo(goal) {
    this.scroller.scrollTop = goal.offsetTop - this.scroller.clientHeight / 3;
    goal.classList.toggle("found", this.target > 0);
    this.target = 0;
    this.follow = this.gap < AT_END && this.room.attached;
  }

  // A screen reader stays silent while old messages come, or another room.
  quiet() {
    const live = (on) => {
      const { parentNode: it } = this.log;
      it.setAttribute("aria-live", on ? "polite" : "off");
      it.setAttribute("aria-busy", !on);
    };
    live(false);
    clearTimeout(this.loud);
    this.loud = setTimeout(live, 400, true);
  }

  // The rows with the days, the place where the unread messages begin, and what waits to be sent.
  rows(room, waiting) {
    const rows = [];
    let day = "";
    let divided = !room.divider;
    let last = {};
    const add = (row) => {
      rows.push(row);
      last = row;
    };
    for (const row of room.rows) {
      if (row.names && this.app.joins === "off") continue;
      const today = new Date(row.at).toDateString().replace(/ /g, "-");
      if (row.from && today !== day) {
        day = today;
        add({ id: day, kind: "day", text: calendar.format(row.at) });
      }
      if (!divided && row.number > room.divider) {
        divided = true;
        add({ id: "divider", kind: "divider", text: "New" });
      }
      row.follows = last.from === row.from && row.from && !row.action && !last.action && row.at - last.at < TOGETHER;
      add(row);
    }
    return rows.concat(waiting.filter((item) => !item.came).map((item) => ({
      id: item.ref, kind: "waiting", item, from: this.app.chat.name, at: item.at, text: item.request.text,
      action: item.request.type === "action", state: item.state })));
  }

  // Fill or refill a row's element. Most rows never change, and are left alone.
  fill(child, row) {
    const looks = [row.kind, row.follows && "follows", row.mention && "mention", row.look, row.state];
    const now = [...looks, row.changed].join();
    if (child.looks === now) return;
    child.looks = now;
    child.className = ["row", ...looks].filter((each) => each).join(" ");
    if (row.number) child.dataset.number = row.number;
    child.replaceChildren(...(row.from ? spoken(row) : noted(row)));
  }
}

function spoken(row) {
  const { from, at, text, action, item } = row;
  const time = el("time", { datetime: new Date(at).toISOString() }, clock.format(at));
  const parts = [el("span", { class: "head" }, !action && nameOf(from), time),
    el("bdi", { class: "text", dir: "auto" }, action && nameOf(from), action && " ", linked(text))];
  if (item) {
    const goal = item.request.room || item.request.to || "whoever wrote last";
    parts.push(el("small", {}, item.why ? `For ${goal}: ${item.why}` : `waiting to reach ${goal}`));
  }
  if (item && /unsure|refused/.test(item.state)) {
    parts.push(el("span", { class: "actions" }, button("Take it back", `/edit ${item.ref}`)));
  }
  return parts;
}

function noted({ kind, names, text, answers, line }) {
  if (kind === "day" || kind === "divider") return [el("span", {}, text)];
  const others = names?.length > 3 ? ` and ${names.length - 2} others` : "";
  const many = names && names.slice(0, others ? 2 : 3).join(", ") + others;
  const words = names ? `${many} ${kind}${text ? ` (${text})` : ""}` : text;
  return [words && el("bdi", { class: "text", dir: "auto" }, linked(words)), ...(answers || []),
    line && el("span", { class: "actions" }, button(line, line))].filter((each) => each);
}
