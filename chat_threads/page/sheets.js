"use strict";
// Sheets: what opens over the conversation to join a room, to look for something, to change a setting. One is open at a
// time. `app` is the App of main.js.

class Sheets {
  constructor(app) {
    this.app = app;
    this.sheet = byId("sheet");
    this.scrim = byId("scrim");
    this.cameFrom = null; // the element that had the focus before
    this.drawer = null;
    this.shut = null; // called when the sheet closes
    byId("close-sheet").addEventListener("click", () => this.close());
    this.scrim.addEventListener("click", () => this.close());
    document.addEventListener("keydown", (event) => this.key(event));
  }

  get isOpen() {
    return !this.sheet.hidden;
  }

  key(event) {
    if (event.key === "Escape" && (this.isOpen || this.drawer)) this.close();
    const inside = this.isOpen ? this.sheet : this.drawer;
    if (event.key !== "Tab" || !inside) return;
    const stops = [...inside.querySelectorAll("button, input, select, a[href], [tabindex='0']")].filter((each) => each.offsetParent);
    const edge = event.shiftKey ? stops[0] : stops[stops.length - 1];
    if (!inside.contains(document.activeElement) || document.activeElement === edge) {
      event.preventDefault(); // the focus goes round inside
      (event.shiftKey ? stops[stops.length - 1] : stops[0]).focus();
    }
  }

  // Open a sheet. `focus` is the element to begin with; without it no keyboard pops up.
  open(title, content, focus, shut = null) {
    if (!this.isOpen && !this.drawer) this.cameFrom = document.activeElement;
    this.hideDrawer();
    byId("sheet-title").textContent = title;
    byId("sheet-body").replaceChildren(...content.filter((each) => each));
    this.shut = shut;
    this.sheet.hidden = this.scrim.hidden = false;
    byId("sheet-body").scrollTop = 0;
    (focus || byId("close-sheet")).focus();
  }

  openDrawer(drawer) {
    this.cameFrom = document.activeElement;
    this.drawer = drawer;
    drawer.classList.add("open");
    this.scrim.hidden = false;
    const first = drawer.querySelector("[aria-current], button");
    if (first) first.focus();
  }

  hideDrawer() {
    if (this.drawer) this.drawer.classList.remove("open");
    this.drawer = null;
  }

  close() {
    const shut = this.shut;
    this.shut = null;
    this.hideDrawer();
    this.sheet.hidden = this.scrim.hidden = true;
    if (this.cameFrom && this.cameFrom !== byId("text")) this.cameFrom.focus();
    else this.app.composer.focus();
    this.cameFrom = null;
    if (shut) shut();
  }

  // A button that does something and closes the sheet.
  button(label, does, kind = "") {
    return el("button", { type: "button", class: kind, onclick: () => {
      this.close();
      does();
    } }, label);
  }

  // A form with one field; what is typed there goes to `does`, unless it is blank and must not be.
  form(label, value, action, does, options = {}) {
    const input = el("input", { value, maxlength: options.most || 200, autocapitalize: "off", autocomplete: "off",
      "aria-label": label, placeholder: options.example, enterkeyhint: "go", type: options.type || "text" });
    const form = el("form", { class: "line", onsubmit: (event) => {
      event.preventDefault();
      if (input.value.trim() || options.blank) does(input.value.trim());
    } }, input, el("button", { type: "submit" }, action));
    return { all: el("div", { class: "field" }, el("h3", {}, label), form), input };
  }

  // --- rooms --------------------------------------------------------------------------------------------------

  findRoom() {
    const { app } = this;
    const listing = el("div", { class: "list", "aria-live": "polite" }, el("p", { class: "hint" }, "Looking for rooms …"));
    const go = (type, typed) => {
      const room = typed.startsWith("#") ? typed : "#" + typed;
      this.close();
      app.perform({ type, room });
    };
    const join = this.form("Join a room", "", "Join", (room) => go("join", room), { example: "#lab2", most: 97 });
    const create = this.form("Create a room", "", "Create", (room) => go("create", room), { example: "#new-room", most: 97 });
    this.open("Join or create", [join.all, create.all, el("h3", {}, "Rooms on this server"), listing], app.fine && join.input);
    app.ask({ type: "rooms" }, (event) => {
      if (event.type !== "rooms") return listing.replaceChildren(el("p", { class: "hint" }, event.text));
      const rows = event.rooms.map((each) => el("button", { type: "button", onclick: () => go("join", each.room) },
        el("b", {}, el("bdi", {}, each.room)), el("span", { class: "hint" }, `${each.people} here, ${counted(each.messages, "message")}`),
        each.topic ? el("bdi", { class: "hint" }, each.topic) : null));
      if (event.more) rows.push(el("p", { class: "hint" }, `and ${counted(event.more, "more room")}.`));
      return listing.replaceChildren(...rows);
    });
  }

  // The room or the private conversation on the screen.
  about() {
    const { app } = this;
    const room = app.chat.shown;
    if (!room) return;
    if (room.peer) {
      this.person(room.peer);
      return;
    }
    const topic = this.form("Topic", room.topic, "Set", (text) => {
      this.close();
      app.perform({ type: "topic", room: room.name, text: text || "-" });
    }, { most: 200, blank: true });
    const invite = this.form("Invite somebody", "", "Invite", (name) => {
      this.close();
      app.perform({ type: "invite", room: room.name, name });
    }, { example: "name", most: 60 });
    this.open(room.name, [topic.all, invite.all,
      this.button("Show the address as a QR code", () => app.perform({ type: "qr" })),
      this.button("Leave the room", () => app.perform({ type: "leave", room: room.name })),
      this.button("Delete the room …", () => app.perform({ type: "delete", room: room.name, ask: true }), "danger")]);
  }

  // --- people -------------------------------------------------------------------------------------------------

  person(name) {
    const { app } = this;
    if (fold(name) === fold(app.chat.name)) {
      this.me();
      return;
    }
    const about = el("div", { "aria-live": "polite" }, el("p", { class: "hint" }, "…"));
    const room = app.chat.shown;
    const ignored = [...app.chat.ignored.values()].some((each) => fold(each) === fold(name));
    const talking = app.chat.rooms.get("@" + fold(name));
    this.open(name, [about,
      room && room.peer !== name ? this.button("Write privately", () => app.show(app.chat.privately(name))) : null,
      room && !room.peer && !room.people.has(fold(name)) ? this.button(`Invite to ${room.name}`, () => app.perform({ type: "invite", name, room: room.name })) : null,
      room && !room.peer ? this.button("Say the name", () => app.composer.insert(name + ": ")) : null,
      ignored
        ? this.button("Show again what they say", () => app.perform({ type: "unignore", name }))
        : this.button("Hide what they say", () => app.perform({ type: "ignore", name })),
      talking ? this.button("Close the private conversation", () => app.forget(talking)) : null]);
    app.ask({ type: "whois", name }, (event) => {
      if (event.type !== "whois") return about.replaceChildren(el("p", { class: "hint" }, event.text));
      const away = event.away === null ? "" : ` Away${event.away ? ": " + event.away : "."}`;
      return about.replaceChildren(el("p", { class: "hint" },
        `In ${event.rooms.join(", ") || "no room"}. Connected for ${span(event.connected)}, last typed ${span(event.idle)} ago.${away}`));
    });
  }

  me() {
    const { app } = this;
    const name = this.form("Your name", app.chat.name, "Change", (typed) => {
      this.close();
      app.perform({ type: "nick", name: typed });
    }, { most: 60 });
    const away = app.chat.away === null
      ? this.form("Away", "", "I am away", (reason) => {
        this.close();
        app.perform({ type: "away", reason });
      }, { example: "a reason, if you like", blank: true }).all
      : el("div", { class: "field" }, el("h3", {}, "Away"), this.button("I am back", () => app.perform({ type: "back" })));
    const settings = SWITCHES.map(([option, label]) => {
      const box = el("input", { type: "checkbox", onchange: () => app.settings.set(option, box.checked ? "on" : "off") });
      box.checked = app.settings.values[option] !== "off";
      return el("label", { class: "switch" }, box, label);
    });
    this.open(app.chat.name, [name.all, away, el("div", { class: "field" }, el("h3", {}, "Settings"), ...settings),
      this.button("All commands", () => app.line("/help")),
      this.button("Show my token", () => app.perform({ type: "token" })),
      this.button("Show the address as a QR code", () => app.perform({ type: "qr" })),
      this.button("Leave the chat", () => app.perform({ type: "quit" }), "danger")]);
  }

  // --- search -------------------------------------------------------------------------------------------------

  search() {
    const { app } = this;
    const found = el("div", { "aria-live": "polite" });
    const room = app.chat.shown && !app.chat.shown.peer ? app.chat.shown.name : "";
    const only = el("input", { type: "checkbox" });
    const words = this.form("Words, from:NAME", "", "Search", (typed) => {
      const { request, error } = app.typed.line("/search " + typed);
      if (error) return found.replaceChildren(el("p", {}, error));
      if (only.checked && room) request.room = room;
      found.replaceChildren(el("p", { class: "hint" }, "Searching …"));
      return app.ask(request, (event) => {
        const jump = (where, number) => {
          this.close();
          app.jump(where, number);
        };
        found.replaceChildren(...(event.type === "search" ? answer(event, jump) : [el("p", {}, event.text)]));
      });
    }, { type: "search" });
    this.open("Search", [words.all, room ? el("label", { class: "switch" }, only, `Only in ${room}`) : null, found], words.input);
  }

  // Another tab has taken our place. Taking it back happens only by a tap: otherwise two tabs would do so for ever.
  replaced() {
    this.open("Open somewhere else", [
      el("p", {}, "This conversation goes on in another tab or window, under the same name."),
      this.button("Continue here", () => {}, "main"),
    ], null, () => this.app.wire.start());
  }
}

const SWITCHES = [
  ["timestamps", "Times"],
  ["numbers", "Numbers of messages"],
  ["colour", "Names in colour"],
  ["joins", "Who comes and goes"],
  ["bell", "A sound when my name is said"],
];
