"use strict";
// What opens over the conversation: a sheet to join a room, to look for something, to change a setting; and, on a
// phone, the rooms and the people. One is open at a time. What is tapped or filled in types a line, as people do.

class Sheets {
  constructor(app) {
    this.app = app;
    this.panel = null; // the element that is open
    this.cameFrom = null; // the element that had the focus before
    byId("scrim").addEventListener("click", () => this.close());
    document.addEventListener("keydown", (event) => this.key(event));
    document.addEventListener("click", (event) => this.tapped(event.target.closest("button")));
    document.addEventListener("submit", (event) => this.filled(event));
  }

  key(event) {
    if (event.key === "Escape") this.close();
    if (event.key !== "Tab" || !this.panel) return;
    const stops = [...this.panel.querySelectorAll("button, input, [tabindex='0']")].filter((each) => each.offsetParent);
    const [first, last] = event.shiftKey ? [stops[stops.length - 1], stops[0]] : [stops[0], stops[stops.length - 1]];
    if (this.panel.contains(document.activeElement) && document.activeElement !== last) return;
    event.preventDefault(); // the focus goes round inside
    first?.focus();
  }

  tapped(it) {
    if (!it) return;
    const { line, sheet, drawer, room } = it.dataset;
    if (sheet) this.open(sheet.split(" ")[0], sheet.split(" ")[1]);
    if (drawer) this.show(byId(drawer));
    if (it.id === "close-sheet" || line || room) this.close();
    if (line) this.app.line(line);
    if (room) this.app.show(this.app.chat.rooms.get(room));
  }

  // A field of a sheet: what is filled in continues its line.
  filled(event) {
    const { line, empty } = event.target.dataset;
    if (!line) return;
    event.preventDefault();
    const value = event.target.querySelector("input").value.trim() || empty;
    if (value === undefined) return;
    if (line !== "/search ") this.close();
    this.app.line(line + value);
  }

  show(panel) {
    this.cameFrom = this.panel ? this.cameFrom : document.activeElement;
    if (this.panel) this.panel.classList.remove("open");
    this.panel = panel;
    panel.classList.add("open");
    byId("scrim").hidden = false;
    (panel.querySelector("[aria-current=true]") || panel.querySelector("button"))?.focus();
    this.app.refresh();
  }

  close() {
    if (!this.panel) return;
    const { panel, cameFrom } = this;
    this.panel = null;
    panel.classList.remove("open");
    byId("scrim").hidden = true;
    if (cameFrom === byId("text")) this.app.composer.focus();
    else cameFrom.focus();
    if (byId("sheet").dataset.then && panel === byId("sheet")) this.app.wire.start(); // see replaced()
  }

  // Fill the sheet, from the table below, and open it.
  open(name, about = "") {
    const [title, ...parts] = SHEETS[name](this.app, about);
    byId("sheet-title").textContent = title;
    byId("sheet-body").replaceChildren(...parts.flat(2).filter(given));
    byId("sheet").dataset.then = name === "replaced" ? "start" : "";
    this.show(byId("sheet"));
    if (/^se/.test(name)) byId("sheet").querySelector("input").focus(); // something is to be typed
  }
}

// A field that continues a line: "/join #" and what is filled in. `empty` stands for nothing, if that means something.
function field(label, line, action, value = "", empty = null, type = "text") {
  return el("form", { "data-line": line, "data-empty": empty, autocapitalize: "off", autocomplete: "off" },
    el("label", {}, label, el("input", { value, type })),
    el("button", {}, action));
}

const PLAIN = isSecureContext ? "" : "Not encrypted: others on the network can read the password.";

const SHEETS = {
  find(app) {
    const list = el("div", {}, "…");
    app.ask({ type: "rooms" }, (event) => list.replaceChildren(...noted(said(event))));
    return ["Join or create", field("Join a room", "/join #", "Join"),
      field("Create a room", "/create #", "Create"), list];
  },

  // The room or the private conversation on the screen.
  about({ chat }) {
    const room = chat.shown;
    if (!room) return SHEETS.me({ chat });
    if (room.peer) return SHEETS.person({ chat }, room.peer);
    const { name, topic } = room;
    return [name, field("Topic", `/topic ${name} `, "Set", topic, "-"), field("Invite somebody", "/invite ", "Invite"),
      button("QR code", "/qr"), button("Leave the room", `/leave ${name}`),
      fold(name) !== "#lobby" && button("Delete the room …", `/delete ${name}`)];
  },

  person({ chat }, name) {
    const hidden = chat.ignored.some((each) => each[1] === name);
    return [name, button("Write privately", `/msg ${name}`), button("Who is that?", `/whois ${name}`),
      button("Invite to this room", `/invite ${name}`),
      hidden ? button("Show what they say", `/unignore ${name}`)
        : button("Hide what they say", `/ignore ${name}`)];
  },

  me({ chat, joins }) {
    return [chat.name, field("Your name", "/nick ", "Change", chat.name),
      chat.away === null ? field("A reason to be away", "/away ", "I am away", "", "") : button("I am back", "/back"),
      joins === "off" ? button("Show who comes and goes", "/set joins on")
        : button("Hide who comes and goes", "/set joins off"),
      button("All commands", "/help"), button("My token", "/token"),
      button("A password for this name", "/register"), button("Log in to another name", "/login"),
      button("Leave the chat", "/quit")];
  },

  search(app, found = []) {
    return ["Search", field("Words, in:#room, from:name", "/search ", "Search", "", null, "search"), found];
  },

  // A password goes to the server at once. It is typed in no line, and waits in no outbox.
  secret({ wire }, type) {
    const why = el("p", { class: "error", role: "alert" });
    const send = (event) => {
      event.preventDefault();
      const { again, ...asked } = Object.fromEntries(new FormData(event.target));
      const same = [undefined, asked.new || asked.password].includes(again);
      why.textContent = !wire.ready ? "There is no connection now." : same ? "" : "The two are not the same.";
      if (why.textContent) return;
      wire.send([{ type, ref: type, ...asked }]);
      byId("close-sheet").click();
    };
    const ask = (name, label, kind = "password") =>
      el("label", {}, label, el("input", { name, type: kind, required: true }));
    return [`/${type}`, el("form", { class: "secret", onsubmit: send }, type === "login" && ask("name", "Name", "text"),
      ask("password", "Password"), type === "password" && ask("new", "New password"),
      /^[pr]/.test(type) && ask("again", "Once more"), PLAIN && el("p", {}, PLAIN), why, el("button", {}, "Send"))];
  },

  // Another tab has taken our place. Taking it back happens only by a tap: otherwise two tabs would do so for ever.
  replaced() {
    return ["Open somewhere else", el("p", {}, "This conversation goes on in another tab or window."),
      el("button", { class: "main", onclick: () => byId("close-sheet").click() }, "Continue here")];
  },
};
