"use strict";
// The chat in the browser. Read the files in this order: wire.js is the connection, outbox.js what waits for an answer,
// state.js what is known; these three and typed.js know nothing of a page. dom.js makes elements, conversation.js,
// composer.js and sheets.js are the parts of the screen. App, below, connects them: what is typed or tapped goes
// through perform() into the outbox, what comes goes through came() into the state, and draw() shows the state.

const KEPT = "chat_threads"; // in sessionStorage: what this tab keeps when it is loaded again
const OUTBOX = "chat_threads outbox";
const SETTINGS = "chat_threads settings"; // in localStorage, for all tabs
const NAME_KEPT = 150000; // milliseconds for which a server may hold our name for a connection that is dead
const FRESH = 60000; // milliseconds after which the list of people is asked for again

// A browser may refuse to keep anything. Then the page works without it.
function keep(storage, key, value) {
  try {
    window[storage].setItem(key, value);
  } catch (error) {
    // Full, or forbidden.
  }
}

function recall(storage, key) {
  try {
    return window[storage].getItem(key);
  } catch (error) {
    return null;
  }
}

class App {
  constructor() {
    const { commands } = JSON.parse(byId("data").textContent);
    this.typed = new Typed(commands);
    this.chat = new Chat();
    this.settings = { timestamps: "on", numbers: "off", colour: "on", bell: "off", joins: "on", replay: "50",
      ...JSON.parse(recall("localStorage", SETTINGS) || "{}") };
    this.outbox = new Outbox({ save: (text) => keep("sessionStorage", OUTBOX, text), load: () => recall("sessionStorage", OUTBOX) }, newPrefix());
    this.asked = new Map(); // by ref: the room where something was asked, and who wants the answer
    this.inside = false; // whether we have been welcomed since we entered
    this.motd = [];
    this.forgotten = false; // whether the server did not know our token
    this.lostAt = 0;
    this.reason = ""; // of the last `bye`
    this.fine = window.matchMedia("(pointer: fine)").matches; // a mouse: there is no keyboard that pops up
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    this.wire = new Wire(`${scheme}//${location.host}/ws`, {
      opened: () => this.greet(),
      came: (events) => this.came(events),
      ended: (code, wasOpen) => this.ended(code, wasOpen),
    });
    this.conversation = new Conversation({
      more: (room, where) => this.load(room, where),
      jump: (room, number) => this.jump(room, number),
      line: (text) => this.line(text),
      again: (item) => this.outbox.again(item) || this.flush(),
      drop: (item) => this.outbox.drop(item) || this.draw(),
      edit: (item) => {
        this.outbox.drop(item);
        this.composer.insert(item.request.text);
        this.draw();
      },
      read: () => this.read(),
      myName: () => this.chat.name,
      settings: () => this.looks,
    });
    this.sheets = new Sheets(this);
    this.composer = new Composer(this);
    this.dress();
    this.listen();
  }

  // --- entering -----------------------------------------------------------------------------------------------

  start() {
    byId("first-room").value = this.addressed() || "#lobby";
    byId("name").value = recall("localStorage", "chat_threads name") || "";
    const kept = recall("sessionStorage", KEPT);
    if (kept) {
      try {
        this.chat.restore(JSON.parse(kept));
        const wanted = this.addressed();
        if (wanted && this.chat.room(wanted)) this.chat.shown = this.chat.room(wanted);
        else if (wanted && !(this.chat.shown && this.chat.shown.peer)) this.first = wanted;
        this.inside = true;
        this.reveal();
        this.wire.start();
        return;
      } catch (error) {
        this.chat = new Chat();
      }
    }
    this.showEntry("");
  }

  // The room in the address: "#lab2", or "".
  addressed() {
    try {
      const room = decodeURIComponent(location.hash);
      return room.length > 1 ? room : "";
    } catch (error) {
      return "";
    }
  }

  showEntry(why, near = "") {
    byId("entry").hidden = false;
    byId("chat").hidden = true;
    byId("refused").textContent = why;
    byId("suggested").hidden = !near;
    byId("suggested").textContent = `Use ${near}`;
    byId("suggested").onclick = () => {
      byId("name").value = near;
      this.enter();
    };
    byId("name").focus();
  }

  enter() {
    const name = byId("name").value.trim();
    const room = byId("first-room").value.trim();
    if (!name) return;
    if (!(this.left && fold(name) === fold(this.left.name))) this.chat = new Chat();
    else this.chat = Object.assign(new Chat(), { token: this.left.token }); // the same person again: the same token
    this.chat.call(name);
    this.first = room && !room.startsWith("#") ? "#" + room : room || "#lobby";
    this.inside = false;
    byId("refused").textContent = "Connecting …";
    byId("suggested").hidden = true;
    this.wire.stop();
    this.wire.start();
  }

  greet() {
    this.chat.replay = Number(this.settings.replay);
    this.wire.send([this.chat.hello(this.first)]);
  }

  // The server has not let us in.
  refused(event) {
    if (event.code === "unknown_token") {
      this.chat.token = "";
      this.forgotten = true;
      this.greet();
    } else if (this.inside && event.code === "name_taken" && Date.now() - this.lostAt < NAME_KEPT) {
      this.status("Your name is still held for your old connection. Trying again.");
      this.wire.over(0);
    } else if (this.inside && event.code === "unreadable") {
      this.wire.over(0);
    } else {
      this.wire.stop();
      byId("name").value = this.chat.name || byId("name").value;
      this.showEntry(event.text, event.near && !event.near.startsWith("#") ? event.near : "");
    }
  }

  welcomed(event) {
    this.chat.take(event);
    this.outbox.most = Math.min(this.chat.limits.refs, 256);
    keep("localStorage", "chat_threads name", this.chat.name);
    if (!this.inside) this.motd = event.motd;
    for (const item of this.outbox.back(this.chat.token, this.forgotten)) {
      if (!WRITTEN.has(item.request.type)) this.problem(`The connection was lost before the answer to ${item.request.type} came. It may have been done or not.`);
    }
    this.inside = true;
    this.forgotten = false;
    this.left = null;
    // These last as long as a connection.
    if (this.chat.away !== null) this.ask({ type: "away", reason: this.chat.away }, () => {});
    for (const [person, name] of this.chat.ignored) this.ask({ type: "ignore", name, person }, () => {});
    this.reveal();
    this.status("");
    this.flush();
    this.wantToken(2000);
  }

  // While the server has no token for us, ask for one from time to time.
  wantToken(pause) {
    clearTimeout(this.tokenTimer);
    if (this.chat.token) return;
    this.tokenTimer = setTimeout(() => {
      if (this.wire.ready && !this.chat.token) this.ask({ type: "token" }, () => this.keepSoon());
      this.wantToken(Math.min(60000, 2 * pause));
    }, pause);
  }

  reveal() {
    byId("entry").hidden = true;
    byId("chat").hidden = false;
    if (this.shownRoom !== this.chat.shown) this.show(this.chat.shown);
    this.draw();
  }

  // --- asking -------------------------------------------------------------------------------------------------

  // Everything in the box, as typed. Returns whether the box can be emptied.
  line(typed) {
    const found = this.typed.all(typed);
    const most = this.chat.limits.text;
    for (const { request, error } of found) {
      const length = request && request.text ? [...request.text].length : 0;
      if (error) return this.problem(error);
      if (length > most) return this.problem(`A line has ${length} characters. At most ${most} are allowed, so nothing was sent.`);
    }
    if (this.outbox.full) return this.problem("Too many lines wait to be sent. Wait until the connection is back.");
    for (const { request } of found) this.perform(request);
    this.conversation.newest();
    this.draw();
    return true;
  }

  // Show an error where the user is looking; returns false.
  problem(text, actions = null) {
    this.chat.note(this.chat.shown, { tone: "error", text, actions });
    this.draw();
    return false;
  }

  // Carry out a request of the user, whether it was typed or tapped.
  perform(request) {
    const { chat } = this;
    const place = chat.shown;
    if (request.type === "help") return this.help(request.about);
    if (request.type === "set" && request.option !== "replay") return this.set(request.option, request.value, true);
    if (request.type === "quit") return this.quit(request.words);
    if (request.type === "join" && chat.room(request.room)) return this.show(chat.room(request.room));
    if (place && place.peer) {
      if (request.type === "say") return this.ask({ type: "private", to: place.peer, text: request.text });
      if (request.type === "action") return this.problem("What you do is for rooms; this is a private conversation.");
    }
    const here = place && !place.peer ? place.name : null;
    const whole = { ...request };
    if (HERE.has(request.type) && !request.room && here) whole.room = here;
    if ((request.type === "say" || request.type === "action") && !whole.room) return this.problem("You are not in a room. Join one first.");
    if (request.type === "set" && request.value) this.set("replay", request.value);
    // /trace goes by the server's current room.
    if (request.type === "trace" && here && here !== chat.current) this.ask({ type: "join", room: here }, () => {});
    return this.ask(whole);
  }

  // Put a request into the outbox. `then` gets the answer or the error; without it, they are shown in this room.
  ask(request, then = null) {
    const item = this.outbox.add(request, Date.now());
    this.asked.set(item.ref, { then, room: this.chat.shown });
    this.flush();
    return item;
  }

  flush() {
    if (this.wire.ready) this.wire.send(this.outbox.take(this.chat.token));
    this.draw();
  }

  help(about) {
    const { typed } = this;
    const command = about && typed.called(about);
    if (about && !command) return this.problem(typed.line(about).error);
    return this.chat.note(this.chat.shown, { help: { commands: typed.commands, about: command } });
  }

  set(option, value, say = false) {
    const { settings } = this;
    const allowed = { timestamps: ["on", "off", "seconds"], replay: null };
    const fits = option && option in settings && (option === "replay" || (allowed[option] || ["on", "off"]).includes(value));
    if (option && !fits) return this.problem("There is no such setting. /help set lists the options.");
    if (option) settings[option] = value;
    keep("localStorage", SETTINGS, JSON.stringify(settings));
    this.dress();
    if (option === "bell" && value === "on") this.ring();
    const all = Object.entries(settings).map(([key, each]) => `${key} ${each}`).join(", ");
    if (say) this.chat.note(this.chat.shown, { text: option ? `${option} is ${value} now.` : `Set: ${all}.` });
    return this.draw();
  }

  dress() {
    const { settings } = this;
    document.body.classList.toggle("plain-names", settings.colour === "off");
    this.looks = { timestamps: settings.timestamps, numbers: settings.numbers === "on", joins: settings.joins === "on",
      looks: settings.timestamps + settings.numbers };
  }

  quit(words) {
    if (this.wire.ready) {
      this.ask(words ? { type: "quit", words } : { type: "quit" }, () => {});
    } else if (!this.outbox.items.length || window.confirm("Some lines are not sent yet. Leave without sending them?")) {
      this.gone("");
    }
  }

  // We have left. The next one to enter from this tab begins anew.
  gone(why) {
    this.wire.stop();
    this.left = { name: this.chat.name, token: this.chat.token };
    this.inside = false;
    this.outbox.items = [];
    this.outbox.save();
    this.chat = new Chat();
    try {
      window.sessionStorage.removeItem(KEPT);
    } catch (error) {
      // It was not kept either.
    }
    this.show(null);
    this.showEntry(why);
  }

  // --- what comes ---------------------------------------------------------------------------------------------

  came(events) {
    for (const event of events) {
      if (event.type === "bye") this.bye(event.reason);
      else if (event.type === "welcome") this.welcomed(event);
      else if (event.type === "error" && !this.wire.ready) this.refused(event);
      else if (event.ref) this.answered(event);
      else this.told(event);
    }
    this.flush();
    this.keepSoon();
  }

  // What nobody asked for.
  told(event) {
    const { chat } = this;
    const mentions = [...chat.rooms.values()].reduce((sum, room) => sum + room.mentions, 0);
    chat.take(event, this.outbox.items);
    if (event.type === "joined") this.joined(chat.room(event.room));
    if (event.type === "notice") this.notice(event, chat.shown);
    if (event.type === "error") chat.note(chat.shown, { tone: "error", text: event.text });
    if (this.settings.bell === "on" && [...chat.rooms.values()].reduce((sum, room) => sum + room.mentions, 0) > mentions) this.ring();
  }

  joined(room) {
    if (this.motd.length) this.chat.note(room, { text: this.motd.join("\n") });
    this.motd = [];
    if (this.first && fold(this.first) === fold(room.name)) {
      this.first = "";
      this.show(room);
    } else if (room === this.chat.shown) {
      this.refresh(true);
    }
  }

  answered(event) {
    const { chat, outbox } = this;
    const item = outbox.find(event.ref);
    const { then, room } = this.asked.get(event.ref) || { then: null, room: chat.shown };
    if (event.type === "error") {
      if (event.code === "busy") {
        chat.note(room, { tone: "quiet", text: event.text }); // the answer is still to come
        return;
      }
      if (item && event.code === "unreadable" && !item.retried) {
        item.retried = true;
        setTimeout(() => outbox.again(item) || this.flush(), 1000);
        return;
      }
      if (item && event.code === "maybe_stored" && SAID.has(item.request.type)) {
        item.state = "later"; // once the server has been started again
        return;
      }
    }
    this.asked.delete(event.ref);
    if (event.type === "error" && item && WRITTEN.has(item.request.type)) {
      outbox.refused(item, event.text);
      return;
    }
    chat.take(event, outbox.items);
    outbox.answered(event.ref);
    const request = item ? item.request : {};
    if (event.type === "notice") this.settled(request, event);
    if (then) then(event);
    else this.show_answer(request, event, chat.rooms.has(room && (room.peer ? "@" : "") + fold(room.name)) ? room : chat.shown);
  }

  show_answer(request, event, room) {
    const { chat } = this;
    if (event.type === "joined" || event.type === "current") this.show(chat.room(event.room));
    else if (event.type === "error") this.problemOf(event, room);
    else if (event.type === "notice") this.notice(event, room);
    else if (event.type === "deleted") chat.note(chat.shown, { text: `You deleted ${event.room}.` });
    else if (!QUIET.has(event.type)) chat.note(room, { answer: event });
  }

  problemOf(event, room) {
    const actions = [];
    if (event.code === "not_in_room" && event.room) actions.push({ label: `Join ${event.room}`, line: `/join ${event.room}` });
    if (event.code === "room_exists" && event.room) actions.push({ label: `Join ${event.room}`, line: `/join ${event.room}` });
    if (event.code === "unknown_room" && event.near) actions.push({ label: `Join ${event.near}`, line: `/join ${event.near}` });
    if (event.code === "name_taken" && event.near) actions.push({ label: `Use ${event.near}`, line: `/nick ${event.near}` });
    this.chat.note(room, { tone: "error", text: event.text, actions });
  }

  notice(event, room) {
    const next = {
      back: { label: "I am back", line: "/back" },
      delete: { label: "Delete it for good", line: `/delete ${event.room} yes` },
      unignore: { label: "Show it again", line: `/unignore ${event.name}` },
      threads: { label: "Show the threads", line: "/threads" },
    }[event.next];
    this.chat.note(room, { text: event.text, actions: next ? [next] : null });
  }

  // A request about ourselves was done.
  settled(request, event) {
    const { chat } = this;
    if ((request.type === "nick" || request.type === "resume") && event.name) {
      chat.call(event.name);
      if (request.type === "resume") chat.token = request.token;
      keep("localStorage", "chat_threads name", chat.name);
    }
    if (request.type === "away") chat.away = request.reason || "";
    if (request.type === "back") chat.away = null;
    if (request.type === "ignore" && event.person) chat.ignored.set(event.person, event.name);
    if (request.type === "unignore" && event.person) chat.ignored.delete(event.person);
    const me = chat.shown && chat.shown.people.get(fold(chat.name));
    if (me) me.away = chat.away;
  }

  bye(reason) {
    this.reason = reason;
    if (reason === "quit") this.gone("You have left. See you.");
    if (reason === "replaced") this.replaced();
  }

  replaced() {
    this.wire.stop();
    this.status("Open somewhere else");
    this.sheets.replaced();
  }

  ended(code, wasOpen) {
    if (wasOpen) this.lostAt = Date.now();
    for (const room of this.chat.rooms.values()) room.loading = "";
    if (code === 4004) this.replaced();
    else if (this.inside) this.status(navigator.onLine === false ? "You are offline. What you write waits." : "The connection is lost. Trying again; what you write waits.");
    else byId("refused").textContent = "The server does not answer. Trying again …";
    this.draw();
  }

  status(text) {
    if (byId("state").textContent !== text) byId("state").textContent = text;
  }

  // --- the history --------------------------------------------------------------------------------------------

  load(room, where, number = 0) {
    if (room.loading || !this.wire.ready) return;
    const request = { type: "history", room: room.name, count: 100 };
    if (where === "before") request.before = room.first;
    if (where === "after") request.after = room.end;
    if (where === "around") request.before = number + 30;
    if (where === "newest" || where === "around") {
      room.rows = [];
      room.attached = false;
    }
    room.loading = where;
    this.ask(request, (event) => {
      if (event.type === "history") this.chat.page(room, event);
      else room.loading = "";
    });
  }

  // Go to a message that a search found, with what was said around it.
  jump(name, number) {
    const { chat } = this;
    const room = chat.room(name);
    if (!room) {
      this.ask({ type: "join", room: name }, (event) => {
        if (event.type === "error") this.problemOf(event, chat.shown);
        else this.jump(event.room, number);
      });
      return;
    }
    this.show(room);
    if (!room.rows.some((row) => row.number === number)) {
      room.loading = "";
      this.load(room, "around", number);
    }
    this.conversation.target = number;
    this.draw();
  }

  // --- the screen ---------------------------------------------------------------------------------------------

  show(room) {
    const { chat } = this;
    this.shownRoom = room;
    if (this.sheets.drawer) this.sheets.close();
    chat.shown = room;
    if (room) room.divider = room.unread ? room.read : 0;
    this.composer.show(room);
    this.composer.focus();
    if (room && !room.peer && this.wire.ready) window.history.replaceState(null, "", room.name);
    this.refresh(true);
    this.draw();
    this.keepSoon();
  }

  forget(room) {
    this.chat.rooms.delete("@" + fold(room.name));
    if (this.chat.shown === room) this.show(this.chat.joined[0] || null);
    this.draw();
  }

  // Ask who is in the room, with their away state, where the list is on the screen.
  refresh(force = false) {
    const room = this.chat.shown;
    const visible = byId("people").offsetParent && getComputedStyle(byId("people")).visibility === "visible";
    if (!room || room.peer || !visible || !this.wire.ready || document.hidden) return;
    if (!force && Date.now() - (room.asked || 0) < FRESH) return;
    room.asked = Date.now();
    this.ask({ type: "who", room: room.name }, () => {});
  }

  // What is on the screen counts as read.
  read() {
    const room = this.chat.shown;
    if (!room || document.hidden || !this.conversation.follow || !room.attached || !room.unread) return;
    room.read = room.last;
    room.unread = room.mentions = 0;
    this.draw();
  }

  // Draw soon, and once for everything that comes until then.
  draw() {
    if (this.drawing) return;
    this.drawing = true;
    const now = () => {
      this.drawing = false;
      this.drawNow();
    };
    if (document.hidden) setTimeout(now, 200);
    else requestAnimationFrame(now);
  }

  drawNow() {
    const { chat } = this;
    const room = chat.shown;
    if (room !== this.shownRoom) return this.show(room);
    if (room && !document.hidden && this.conversation.follow && room.attached) {
      room.read = Math.max(room.read, room.last);
      room.unread = room.mentions = 0;
    }
    this.conversation.show(room, this.waitingIn(room));
    const others = [...chat.rooms.values()].filter((each) => each !== room);
    const unread = others.reduce((sum, each) => sum + each.unread, 0);
    const mentions = others.reduce((sum, each) => sum + each.mentions, 0);
    byId("place").textContent = room ? room.name : "No room";
    byId("topic").textContent = room ? (room.peer ? "private: only you two see it" : room.topic) : "";
    byId("count").textContent = room && !room.peer ? String(room.count) : "";
    byId("open-people").setAttribute("aria-label", room && !room.peer ? `${room.count} people` : "People");
    badge(byId("elsewhere"), unread, mentions);
    byId("open-rooms").setAttribute("aria-label", unread ? `Rooms, ${unread} unread elsewhere` : "Rooms");
    byId("my-name").textContent = chat.name;
    byId("my-state").textContent = chat.away === null ? "" : "away";
    const toEnd = byId("to-end");
    toEnd.hidden = !room || (this.conversation.follow && room.attached);
    toEnd.textContent = room && room.unread ? `${room.unread} new ↓` : "Newest ↓";
    const beginning = byId("beginning");
    beginning.hidden = !room || room.loading !== "" || room.first > 1 || !room.attached;
    beginning.textContent = room && !room.peer ? (room.last ? `This is the beginning of ${room.name}.` : "Nothing was said here yet. Say hello!") : "What you write here is shown to the two of you, and stored nowhere.";
    const all = unread + (room ? room.unread : 0);
    document.title = `${all ? `(${all}) ` : ""}${room ? room.name : "chat"} · ${location.hostname}`;
    this.drawRooms();
    this.drawPeople();
    return undefined;
  }

  waitingIn(room) {
    if (!room) return [];
    return this.outbox.items.filter(({ request }) => WRITTEN.has(request.type)
      && (room.peer ? request.to && fold(request.to) === fold(room.peer) : request.room && fold(request.room) === fold(room.name)));
  }

  drawRooms() {
    const { chat } = this;
    const items = [...chat.rooms].map(([id, room]) => ({ id, room }));
    arrange(byId("room-list"), items, ({ id }) => {
      const row = el("li", {}, el("button", { type: "button", onclick: () => this.show(chat.rooms.get(id) || this.chat.rooms.get(id)) },
        el("bdi", {}), el("span", { class: "badge", hidden: true })));
      return row;
    }, (row, { room }) => {
      const [button] = row.children;
      const label = room.unread ? `${room.name}, ${room.unread} unread${room.mentions && !room.peer ? `, ${counted(room.mentions, "mention")}` : ""}` : room.name;
      button.setAttribute("aria-label", label);
      button.classList.toggle("private", room.peer !== "");
      if (room === chat.shown) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
      button.children[0].textContent = room.name;
      badge(button.children[1], room.unread, room.mentions);
    });
  }

  drawPeople() {
    const room = this.chat.shown;
    const people = room && !room.peer ? [...room.people.values()] : [];
    people.sort((one, other) => (fold(one.name) < fold(other.name) ? -1 : 1));
    byId("people-title").textContent = room && !room.peer ? counted(room.count, "person", "people") : "People";
    arrange(byId("people-list"), people.map((person) => ({ id: person.name, person })), ({ person }) =>
      el("li", {}, el("button", { type: "button", onclick: () => this.sheets.person(person.name) }, nameOf(person.name), el("bdi", { class: "hint" }))),
    (row, { person }) => {
      const away = person.away === null || person.away === undefined ? "" : person.away || "away";
      row.classList.toggle("away", away !== "");
      row.firstChild.lastChild.textContent = person.name === this.chat.name ? `you${away ? ", " + away : ""}` : away;
    });
  }

  // A short sound. Browsers allow it once the page has been tapped.
  ring() {
    const Context = window.AudioContext || window.webkitAudioContext;
    if (!Context) return;
    this.audio = this.audio || new Context();
    const tone = this.audio.createOscillator();
    const volume = this.audio.createGain();
    volume.gain.setValueAtTime(0.08, this.audio.currentTime);
    volume.gain.exponentialRampToValueAtTime(0.001, this.audio.currentTime + 0.3);
    tone.connect(volume).connect(this.audio.destination);
    tone.start();
    tone.stop(this.audio.currentTime + 0.3);
  }

  // --- the browser's events -----------------------------------------------------------------------------------

  listen() {
    byId("enter").addEventListener("submit", (event) => {
      event.preventDefault();
      this.enter();
    });
    const tap = (id, does) => byId(id).addEventListener("click", does);
    tap("open-rooms", () => this.sheets.openDrawer(byId("rooms")));
    tap("open-people", () => {
      this.sheets.openDrawer(byId("people"));
      this.refresh(true);
    });
    tap("find-room", () => this.sheets.findRoom());
    tap("about", () => this.sheets.about());
    tap("open-search", () => this.sheets.search());
    tap("me", () => this.sheets.me());
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) {
        this.keepNow();
      } else {
        this.wire.hurry();
        this.refresh();
        this.draw();
      }
    });
    window.addEventListener("pageshow", () => this.wire.hurry());
    window.addEventListener("online", () => this.wire.hurry());
    window.addEventListener("offline", () => this.wire.hurry());
    window.addEventListener("pagehide", () => this.keepNow());
    window.addEventListener("hashchange", () => {
      const room = this.addressed();
      if (room && this.inside) this.perform({ type: "join", room });
    });
    setInterval(() => this.refresh(), FRESH);
    // A phone's keyboard covers the page without making it smaller (iOS): the page takes the height that is left.
    const view = window.visualViewport;
    if (view) {
      const fit = () => {
        document.documentElement.style.setProperty("--height", view.scale > 1.01 ? "100dvh" : `${view.height}px`);
        if (view.scale <= 1.01) window.scrollTo(0, 0);
      };
      view.addEventListener("resize", fit);
    }
  }

  keepSoon() {
    if (!this.inside || this.keeping) return;
    this.keeping = setTimeout(() => {
      this.keeping = 0;
      this.keepNow();
    }, 500);
  }

  keepNow() {
    if (this.inside) keep("sessionStorage", KEPT, JSON.stringify(this.chat.kept()));
  }
}

// Requests that are about the room on the screen, if they name none.
const HERE = new Set(["say", "action", "leave", "topic", "invite", "history"]);
// Answers that are seen in another way.
const QUIET = new Set(["ack", "private", "left", "message", "bye"]);

function badge(element, unread, mentions) {
  element.hidden = !unread;
  element.textContent = mentions ? `@${unread > 99 ? "99+" : unread}` : unread > 99 ? "99+" : String(unread);
  element.classList.toggle("mentions", mentions > 0);
}

const app = new App();
app.start();
