"use strict";
// The chat in the browser. Read the files in this order: wire.js is the connection, outbox.js what waits for an answer,
// state.js what is known; these three and typed.js know nothing of a page. dom.js makes elements; conversation.js,
// composer.js, sheets.js, screen.js and entry.js are the parts of what is seen. App, below, connects them: what is typed
// or tapped goes through perform() into the outbox, what comes goes through came() into the state, and draw() shows the
// state.

const KEPT = "chat_threads"; // in sessionStorage: what this tab keeps when it is loaded again
const OUTBOX = "chat_threads outbox";
const NAME_KEPT = 150000; // milliseconds for which a server may hold our name for a connection that is dead
const FRESH = 60000; // milliseconds after which the list of people is asked for again

class App {
  constructor() {
    const { commands } = JSON.parse(byId("data").textContent);
    this.typed = new Typed(commands);
    this.chat = new Chat();
    this.settings = new Settings(this);
    this.outbox = new Outbox({ save: (text) => keep("sessionStorage", OUTBOX, text), load: () => recall("sessionStorage", OUTBOX) }, newPrefix());
    this.asked = new Map(); // by ref: the room where something was asked, and who wants the answer
    this.inside = false; // whether we have been welcomed since we entered
    this.motd = [];
    this.forgotten = false; // whether the server did not know our token
    this.lostAt = 0;
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
      edit: (item) => this.outbox.drop(item) || this.composer.insert(item.request.text) || this.draw(),
      read: () => this.read(),
      myName: () => this.chat.name,
      settings: () => this.settings.looks,
    });
    this.sheets = new Sheets(this);
    this.composer = new Composer(this);
    this.screen = new Screen(this);
    this.entry = new Entry((name, room) => this.enter(name, room), this.addressed());
    this.listen();
  }

  // --- entering -----------------------------------------------------------------------------------------------

  start() {
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
    this.entry.open();
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

  enter(name, room) {
    // The same person again has the same token, and with it the same rooms to delete.
    const same = this.left && fold(name) === fold(this.left.name);
    this.chat = Object.assign(new Chat(), { token: same ? this.left.token : "" });
    this.chat.call(name);
    this.first = room;
    this.inside = false;
    this.wire.stop();
    this.wire.start();
  }

  greet() {
    this.chat.replay = Number(this.settings.values.replay);
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
      this.entry.open(event.text, event.near && !event.near.startsWith("#") ? event.near : "");
    }
  }

  welcomed(event) {
    this.chat.take(event);
    this.outbox.most = Math.min(this.chat.limits.refs, 256);
    keep("localStorage", NAME, this.chat.name);
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
    this.entry.close();
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
    if (request.type === "set" && request.option !== "replay") return this.settings.set(request.option, request.value, true);
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
    if (request.type === "set" && request.value) this.settings.set("replay", request.value);
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
    this.entry.open(why);
  }

  // --- what comes ---------------------------------------------------------------------------------------------

  came(events) {
    for (const event of events) {
      if (event.type === "bye" && event.reason === "quit") this.gone("You have left. See you.");
      else if (event.type === "bye" && event.reason === "replaced") this.replaced();
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
    if (event.type === "notice" || event.type === "error") chat.note(chat.shown, said(event));
    if (this.settings.values.bell === "on" && [...chat.rooms.values()].reduce((sum, room) => sum + room.mentions, 0) > mentions) this.settings.ring();
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
    else this.showAnswer(event, [...chat.rooms.values()].includes(room) ? room : chat.shown);
  }

  showAnswer(event, room) {
    const { chat } = this;
    if (event.type === "joined" || event.type === "current") this.show(chat.room(event.room));
    else if (event.type === "error" || event.type === "notice") chat.note(room, said(event));
    else if (event.type === "deleted") chat.note(chat.shown, { text: `You deleted ${event.room}.` });
    else if (!QUIET.has(event.type)) chat.note(room, { answer: event });
  }

  // A request about ourselves was done.
  settled(request, event) {
    const { chat } = this;
    if ((request.type === "nick" || request.type === "resume") && event.name) {
      chat.call(event.name);
      if (request.type === "resume") chat.token = request.token;
      keep("localStorage", NAME, chat.name);
    }
    if (request.type === "away") chat.away = request.reason || "";
    if (request.type === "back") chat.away = null;
    if (request.type === "ignore" && event.person) chat.ignored.set(event.person, event.name);
    if (request.type === "unignore" && event.person) chat.ignored.delete(event.person);
    const me = chat.shown && chat.shown.people.get(fold(chat.name));
    if (me) me.away = chat.away;
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
    else this.entry.say("The server does not answer. Trying again …");
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
        if (event.type === "error") chat.note(chat.shown, said(event));
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

  draw() {
    this.screen.draw();
  }

  // What is on the screen counts as read.
  read() {
    const room = this.chat.shown;
    if (!room || document.hidden || !this.conversation.follow || !room.attached) return;
    const drawn = room.unread > 0;
    room.read = Math.max(room.read, room.last);
    room.unread = room.mentions = 0;
    if (drawn) this.draw();
  }

  // --- the browser's events -----------------------------------------------------------------------------------

  listen() {
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

const app = new App();
app.start();
