"use strict";
// The chat in the browser. Read the files in this order: wire.js is the connection, outbox.js what waits for an answer,
// state.js what is known; these three and typed.js know nothing of a page. dom.js and answers.js make elements;
// conversation.js, composer.js and sheets.js are the parts of what is seen. App, below, connects them: what is typed or
// tapped goes through line() and perform() into the outbox, what comes goes through came() into the state, and draw()
// shows the state.

const FRESH = 60000; // milliseconds after which the list of people is asked for again

// What a browser keeps under a key. It may refuse: then the page works without it.
const store = (storage, key) => ({
  save(text) {
    try {
      window[storage].setItem(`chat ${key}`, text);
    } catch (error) {
      // Full, or forbidden.
    }
  },
  load() {
    try {
      return window[storage].getItem(`chat ${key}`) || "";
    } catch (error) {
      return "";
    }
  },
});
const NAME = store("localStorage", "name");
const JOINS = store("localStorage", "joins"); // "off": do not show who comes and goes
const TAB = store("sessionStorage", "tab"); // a copied tab has a copy, and so the same token

// Requests that are about the room on the screen, if they name none.
const HERE = /^(say|action|leave|topic|invite|typed|history|redact|trace)$/;
// Answers that are seen in another way.
const QUIET = /^(ack|private|left|joined|current|deleted)$/;

class App {
  constructor() {
    this.joins = JOINS.load();
    this.typed = new Typed(JSON.parse(byId("data").textContent).commands);
    this.chat = new Chat();
    const prefix = [...crypto.getRandomValues(new Uint8Array(8))].join(""); // randomUUID needs https
    this.outbox = new Outbox(store("sessionStorage", "outbox"), prefix);
    this.inside = false; // whether we have been welcomed since we entered
    this.first = ""; // the room to show on entering
    this.wire = new Wire(`${location.protocol.replace("http", "ws")}//${location.host}/ws`, {
      opened: () => this.greet(),
      came: (events) => this.came(events),
      ended: (code) => this.ended(code),
    });
    this.conversation = new Conversation(this);
    this.composer = new Composer(this);
    this.sheets = new Sheets(this);
    this.listen();
    this.begin();
  }

  // --- entering -----------------------------------------------------------------------------------------------

  begin() {
    byId("name").value = NAME.load();
    byId("room").value = this.first = this.addressed();
    this.draw();
    if (!TAB.load()) return;
    this.chat.restore(JSON.parse(TAB.load()));
    this.inside = true;
    this.wire.start();
  }

  // The room in the address: "#lab2".
  addressed() {
    try {
      return decodeURIComponent(location.hash);
    } catch (error) {
      return "";
    }
  }

  enterForm(why) {
    byId("why").textContent = why;
    this.inside = false;
    this.drawn = undefined;
    this.draw();
  }

  enter() {
    const room = byId("room").value.trim() || "#lobby";
    this.chat = new Chat(byId("name").value.trim());
    this.first = room.startsWith("#") ? room : "#" + room;
    byId("why").textContent = "Connecting …";
    this.wire.stop();
    this.wire.start();
  }

  greet() {
    const hello = this.chat.hello(this.first);
    if (hello.name && byId("secret").value) hello.password = byId("secret").value;
    this.wire.send([hello]);
  }

  // The server has not let us in.
  refused({ type, code, text }) {
    if (type === "notice") byId("why").textContent = text; // we wait for our turn
    else if (code === "unknown_token") {
      this.chat.token = "";
      this.forgotten = true;
      this.greet();
    } else if (!/^(bad|name|password|wrong|try|not)_|_account$/.test(code)) {
      this.wire.over(0); // try again later: the server may be full, or about to stop
      byId("state").textContent = byId("why").textContent = text;
    } else {
      if (/password/.test(code)) byId("secret").parentNode.hidden = false;
      this.wire.stop();
      this.enterForm(code === "password_needed" ? `This name has a password. Type it, or take another name. ${PLAIN}` : text);
    }
  }

  welcomed(event) {
    const { chat, outbox } = this;
    chat.take(event);
    outbox.most = chat.limits.refs;
    NAME.save(chat.name);
    byId("secret").value = "";
    this.motd = this.inside ? [] : event.motd;
    this.inside = true;
    this.drawn = undefined; // even without a room, show the chat
    byId("state").textContent = "";
    if (outbox.back(chat.token, this.forgotten)) this.problem("A command may not have been done.");
    this.forgotten = false;
    // These last as long as a connection.
    if (chat.away !== null) this.ask({ type: "away", reason: chat.away }, () => {});
    for (const [person, name] of chat.ignored) this.ask({ type: "ignore", name, person }, () => {});
    if (!chat.token) setTimeout(() => this.ask({ type: "token" }, () => {}), FRESH);
  }

  // --- asking -------------------------------------------------------------------------------------------------

  // Everything in the box, as typed. Returns whether the box can be emptied.
  line(typed) {
    const [word, first, second] = typed.split(" ");
    if (word === "/msg" && first && !second) return this.show(this.chat.privately(first));
    const [, type] = /^\/(register|login|password|unregister)\s*$/.exec(typed) || [];
    if (type) { // without the password, the server says why it needs none, or only that it is missing
      this.ask({ type, name: "", password: "", new: "" }, ({ code, text }) => (code === "bad_request" ? this.sheets.open("secret", type) : this.problem(text)));
      return true;
    }
    // Two lines that only the page's own buttons type.
    if (/^\/goto #\S+ \d+$/.test(typed)) return this.goTo(first, Number(second));
    if (word === "/edit" && this.outbox.find(first)) return this.edit(this.outbox.find(first));
    const { text: most } = this.chat.limits;
    const found = this.typed.all(typed, this.chat.limits);
    const long = ({ request }) => [...(request.text || JSON.stringify(request))].length > most;
    const wrong = found.find((each) => each.error || long(each));
    if (wrong) return this.problem(wrong.error || `A message has at most ${most} characters.`);
    const all = this.outbox.items.length + found.length;
    if (all > MOST_WAITING) return this.problem("These are too many lines at once.");
    for (const { request } of found) if (this.perform(request) === false) return false;
    this.drawNow(this.chat.shown); // at once, as for every key
    this.conversation.newest();
    return true;
  }

  // Say something of our own where the user is looking; returns false.
  problem(text, look = "error") {
    this.chat.note(this.chat.place, { text, look });
    this.draw();
    return false;
  }

  perform({ ...request }) {
    const { chat, outbox } = this;
    const { type } = request;
    const place = chat.shown;
    // What is typed after /join is for that room, though the answer is still to come.
    const going = outbox.items.filter((each) => each.goes).pop();
    const here = going ? going.request.room : place && !place.peer && place.name;
    const leaving = outbox.items.some((each) => /leave|delete/.test(each.request.type));
    if (/^\/(help|\?)/i.test(request.line)) return this.ask(request);
    if (type === "set" && request.option === "joins") return this.set(request.value);
    if (type === "quit" && !this.wire.ready) return this.gone();
    if (type === "join" && chat.room(request.room) && !leaving) return this.show(chat.room(request.room));
    if (place && !here && type === "say") return this.ask({ type: "private", to: place.name, text: request.text });
    if (HERE.test(type) && !request.room && here) request.room = here;
    const named = request.room || /^\S+ +#/.test(request.line);
    if (/^(say|action|typed)$/.test(type) && !named) return this.problem("That works only in a room. Choose one first.");
    const item = this.ask(request);
    if (/^(join|create)$/.test(type)) Object.assign(item, { goes: true, begun: chat.place.draft });
    return item;
  }

  // Put what was not done back into the box.
  edit(item) {
    this.outbox.drop(item);
    this.composer.put(asTyped(item.request));
    this.draw();
  }

  // The room that a text of the outbox belongs to: the one it names, or else where it was typed. There may be none.
  homeOf({ request, place }) {
    const { chat } = this;
    return request.room ? chat.room(request.room) : chat.rooms.get(place) || chat.place;
  }

  // What the server has refused comes back into the box; false if something else is begun there, if the room is gone,
  // or if we are about to be in another one.
  giveBack(item) {
    const home = this.homeOf(item);
    if (!home || home.draft || this.outbox.items.some((each) => each.goes)) return false;
    home.draft = asTyped(item.request);
    item.place = home.key; // the reason is said there
    if (home === this.chat.place) this.composer.put(home.draft);
    return true;
  }

  // Put a request into the outbox. `then` gets the answer or the error; without it, they are shown in this room.
  ask(request, then = null) {
    const item = Object.assign(this.outbox.add(request, Date.now()), { then, place: this.chat.place.key });
    this.flush();
    return item;
  }

  flush() {
    if (this.wire.ready) this.wire.send(this.outbox.take(this.chat.token));
    this.draw();
  }

  // The page needs to hear who comes and goes, even if it does not show it.
  set(joins) {
    this.joins = joins;
    JOINS.save(joins);
    this.problem(`joins is ${joins} now.`, "");
  }

  // We have left. The next one to enter from this tab begins anew.
  gone(why = "") {
    this.wire.stop();
    this.outbox.items = [];
    this.outbox.save();
    TAB.save("");
    this.chat = new Chat();
    this.enterForm(why);
  }

  // --- what comes ---------------------------------------------------------------------------------------------

  came(events) {
    for (const event of events) {
      if (event.type === "bye") this.bye(event.reason);
      else if (event.type === "welcome") this.welcomed(event);
      else if (!this.wire.ready) this.refused(event);
      else if (event.ref) this.answered(event);
      else this.told(event);
    }
    this.flush();
    this.keepSoon();
  }

  // What nobody asked for.
  told(event) {
    const { chat } = this;
    chat.take(event, this.outbox.items);
    if (/notice|error/.test(event.type)) chat.note(chat.place, said(event));
    if (event.type !== "joined") return;
    const room = chat.room(event.room);
    if (this.motd.length) chat.note(room, { text: this.motd.join("\n") });
    this.motd = [];
    if (fold(this.first) === room.key) this.show(room);
    if (room === chat.shown) this.refresh();
  }

  answered(event) {
    const { chat, outbox } = this;
    const { type, code, ref } = event;
    const item = outbox.find(ref) || { request: { type: ref } }; // the latter for a password, see SHEETS.secret
    const { type: asked } = item.request;
    const written = WRITTEN.test(asked);
    if (code === "busy") return this.problem(event.text, ""); // the answer is still to come
    if (code === "maybe_stored" && written) return outbox.set(item, "later"); // once the server has been started again
    if (code === "unreadable" && written) return setTimeout(() => outbox.set(item, "waiting") || this.flush(), 1000);
    if (type === "error" && written && !this.giveBack(item)) return outbox.set(item, "refused", event.text);
    chat.take(event, outbox.items);
    outbox.drop(item);
    if (type === "notice") this.settled(item.request, event);
    if (item.then) return item.then(event);
    if (item.goes && /joined|current/.test(type)) this.arrived(chat.room(event.room), item.begun);
    if (type === "search") this.sheets.open("search", noted(said(event)));
    else if (!QUIET.test(type) && asked + type !== "logintoken") {
      chat.note(chat.rooms.get(item.place) || chat.place, said(event));
    } else if (type === "private" && item.place !== "@" + fold(event.to)) {
      chat.note(this.homeOf(item), { text: `To ${event.to}: ${event.text}`, line: `/msg ${event.to}` });
    }
    return undefined;
  }

  // A request about ourselves was done.
  settled({ type, reason, token }, { name, person }) {
    const { chat } = this;
    if (/nick|resume|login/.test(type)) {
      chat.name = name || chat.name;
      chat.token = token || chat.token;
      NAME.save(chat.name);
    }
    if (type === "away") chat.away = reason || "";
    if (type === "back") chat.away = null;
    if (/ignore/.test(type)) chat.ignored = chat.ignored.filter((each) => each[0] !== person);
    if (type === "ignore" && person) chat.ignored.push([person, name]); // once, though each connection asks for it again
    this.refresh();
  }

  bye(reason) {
    if (reason === "quit") this.gone("You have left.");
    if (reason !== "replaced") return;
    this.wire.stop();
    byId("state").textContent = "Open somewhere else";
    this.sheets.open("replaced");
  }

  ended(code) {
    for (const room of this.chat.rooms.values()) room.loading = "";
    byId("state").textContent = "The connection is lost. Trying again; what you write waits.";
    byId("why").textContent = this.inside ? "" : "The server does not answer. Trying again …";
    if (code === 4004) this.bye("replaced");
    this.draw();
  }

  // --- the history --------------------------------------------------------------------------------------------

  // Ask for messages before or after a number, or around it.
  load(room, loading, number) {
    if ((room.loading && loading !== "around") || !this.wire.ready) return;
    const asked = (room.asked = {}); // a later question makes the answer to this one useless
    if (loading === "around") {
      room.rows = [];
      room.attached = room.whole = false;
    }
    room.loading = loading;
    const beside = loading === "after" ? { after: number } : { before: number + (loading === "around" ? 30 : 0) };
    this.ask({ type: "history", room: room.name, count: 100, ...beside }, (event) => {
      if (room.asked !== asked) return;
      if (event.type === "history") this.chat.page(room, event);
      room.loading = "";
    });
  }

  // Go to a message, with what was said around it.
  goTo(name, number) {
    const room = this.chat.room(name);
    if (!room) {
      const then = ({ text }) => (text ? this.problem(text) : this.goTo(name, number));
      return this.ask({ type: "join", room: name }, then);
    }
    if (!room.rows.some((row) => row.number === number)) this.load(room, "around", number);
    this.conversation.target = number;
    return this.show(room);
  }

  // --- the screen ---------------------------------------------------------------------------------------------

  // Somebody turns to a room: the answer to an earlier /join no longer leads away from it.
  show(room) {
    for (const item of this.outbox.items) item.goes = false;
    this.first = "";
    this.chat.shown = room;
    this.draw();
    return true;
  }

  // We are in the room that was asked for. What was begun since then is for it; not what was `begun` before.
  arrived(room, begun) {
    const { chat } = this;
    if (!begun) [room.draft, chat.place.draft] = [chat.place.draft || room.draft, ""];
    this.first = "";
    chat.shown = room;
  }

  // Another room is on the screen now.
  turned(room) {
    this.drawn = room;
    byId("enter").hidden = this.inside;
    byId("chat").hidden = !this.inside;
    if (!this.inside) byId("name").focus();
    this.composer.put(this.chat.place.draft);
    this.composer.focus();
    if (!room) return;
    room.divider = room.unread ? room.read : 0;
    if (!room.peer) history.replaceState(null, "", room.name);
    this.refresh();
  }

  // Ask who is in the room, with their away state, where the list is on the screen.
  refresh() {
    const room = this.chat.shown;
    const seen = getComputedStyle(byId("people")).visibility === "visible" && !document.hidden;
    if (room && !room.peer && seen && this.wire.ready) this.ask({ type: "who", room: room.name }, () => {});
  }

  // What is on the screen counts as read.
  read() {
    const room = this.chat.shown;
    if (!room || document.hidden || !this.conversation.follow || !room.attached) return;
    if (room.unread) this.draw();
    Object.assign(room, { read: Math.max(room.read, room.last), unread: 0, mentions: 0 });
  }

  // Draw soon, and once for everything that comes until then. A hidden page gets no animation frames.
  draw() {
    if (this.drawing) return;
    this.drawing = true;
    const now = () => {
      this.drawing = false;
      this.drawNow(this.chat.shown);
    };
    if (document.hidden) setTimeout(now, 200);
    else requestAnimationFrame(now);
  }

  drawNow(room) {
    const { chat, conversation } = this;
    if (room !== this.drawn) this.turned(room);
    const open = room && !room.peer;
    // What waits for a room that is not open is seen in every room.
    conversation.show(chat.place, this.outbox.items.filter((item) => WRITTEN.test(item.request.type)
      && (this.homeOf(item) || chat.place) === chat.place));
    this.read();
    const all = [...chat.rooms.values()].reduce((sum, each) => sum + each.unread, 0);
    const elsewhere = all - (room ? room.unread : 0);
    document.title = `${all ? `(${all}) ` : ""}${room ? room.name : ""} chat`;
    const texts = {
      place: room ? room.name : "No room",
      topic: open ? room.topic : room ? "Only you two see this." : "",
      "people-count": open ? counted(room.count, "person", "people") : "",
      count: open ? room.count : "",
      elsewhere: elsewhere || "",
      "my-name": chat.away === null ? chat.name : `${chat.name} (away)`,
      beginning: room && !room.loading && room.first < 2 && room.attached
        ? `This is the beginning of ${open ? "" : "your conversation with "}${room.name}.` : "",
      "to-end": room?.unread ? `${room.unread} new ↓` : "Newest ↓",
    };
    for (const [id, text] of Object.entries(texts)) byId(id).textContent = text;
    byId("to-end").hidden = !room || (conversation.follow && room.attached);
    byId("text").placeholder = room ? `Message ${room.name}` : "";
    this.drawLists(room);
  }

  drawLists(room) {
    const rooms = [...this.chat.rooms].map(([id, each]) => ({ id, each }));
    const row = (data) => el("li", {}, el("button", { ...data }, el("bdi"), el("span", { class: "badge" })));
    arrange(byId("room-list"), rooms, ({ id }) => row({ "data-room": id }), ({ firstChild: it }, { each }) => {
      const mentioned = each.mentions && !each.peer ? `, ${counted(each.mentions, "mention")}` : "";
      it.setAttribute("aria-label", each.unread ? `${each.name}, ${each.unread} unread${mentioned}` : each.name);
      it.setAttribute("aria-current", each === room);
      it.firstChild.textContent = each.name;
      it.lastChild.textContent = each.unread ? (each.mentions ? "@" : "") + each.unread : "";
    });
    const people = room ? [...room.people.values()].map((each) => ({ id: each.name, each })) : [];
    people.sort((one, other) => (fold(one.id) < fold(other.id) ? -1 : 1));
    const make = ({ id }) => el("li", {},
      el("button", { "data-sheet": id === this.chat.name ? "me" : `person ${id}` }, nameOf(id), el("small")));
    arrange(byId("people-list"), people, make, ({ firstChild: it }, { each }) => {
      it.lastChild.textContent = given(each.away) ? each.away || "away" : "";
    });
  }

  // --- the browser's events -----------------------------------------------------------------------------------

  listen() {
    byId("enter").addEventListener("submit", (event) => {
      event.preventDefault();
      this.enter();
    });
    const back = () => {
      if (document.hidden) return this.keep();
      this.wire.hurry();
      this.refresh();
      return this.draw();
    };
    document.addEventListener("visibilitychange", back);
    for (const name of ["pageshow", "online", "offline"]) window.addEventListener(name, back);
    window.addEventListener("pagehide", () => this.keep());
    setInterval(() => this.refresh(), FRESH);
    // The keyboard of an iPhone covers the page without making it smaller: the page takes the height that is left.
    const view = window.visualViewport;
    if (!view) return;
    view.addEventListener("resize", () => {
      document.documentElement.style.setProperty("--height", view.scale > 1 ? "100dvh" : `${view.height}px`);
      if (view.scale <= 1) window.scrollTo(0, 0);
    });
  }

  keepSoon() {
    this.keeping = this.keeping || setTimeout(() => this.keep(), 500);
  }

  keep() {
    clearTimeout(this.keeping);
    this.keeping = 0;
    if (this.inside) TAB.save(JSON.stringify(this.chat.kept()));
  }
}

const app = new App();
