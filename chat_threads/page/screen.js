"use strict";
// The frame around the conversation, drawn from the state: the rooms, the people, the head, what is unread.

class Screen {
  constructor(app) {
    this.app = app;
    this.drawing = false;
  }

  // Draw soon, and once for everything that comes until then. A hidden page gets no animation frames.
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
    const { app } = this;
    const room = app.chat.shown;
    if (room !== app.shownRoom) {
      app.show(room);
      return;
    }
    app.conversation.show(room, this.waitingIn(room));
    app.read();
    const others = [...app.chat.rooms.values()].filter((each) => each !== room);
    const unread = others.reduce((sum, each) => sum + each.unread, 0);
    badge(byId("elsewhere"), unread, others.reduce((sum, each) => sum + each.mentions, 0));
    byId("open-rooms").setAttribute("aria-label", unread ? `Rooms, ${unread} unread elsewhere` : "Rooms");
    const all = unread + (room ? room.unread : 0);
    document.title = `${all ? `(${all}) ` : ""}${room ? room.name : "chat"} · ${location.hostname}`;
    byId("my-name").textContent = app.chat.name;
    byId("my-state").textContent = app.chat.away === null ? "" : "away";
    this.drawHead(room);
    this.drawRooms();
    this.drawPeople(room && !room.peer ? room : null);
  }

  drawHead(room) {
    const open = room && !room.peer;
    byId("place").textContent = room ? room.name : "No room";
    byId("topic").textContent = room && room.peer ? "private: only you two see it" : room ? room.topic : "";
    byId("count").textContent = open ? String(room.count) : "";
    byId("open-people").setAttribute("aria-label", open ? counted(room.count, "person", "people") : "People");
    const toEnd = byId("to-end");
    toEnd.hidden = !room || (this.app.conversation.follow && room.attached);
    toEnd.textContent = room && room.unread ? `${room.unread} new ↓` : "Newest ↓";
    const beginning = byId("beginning");
    beginning.hidden = !room || room.loading !== "" || room.first > 1 || !room.attached;
    if (!open) beginning.textContent = "What you write here is shown to the two of you, and stored nowhere.";
    else if (room.last) beginning.textContent = `This is the beginning of ${room.name}.`;
    else beginning.textContent = "Nothing was said here yet. Say hello!";
  }

  // What somebody wrote in a room and is not answered.
  waitingIn(room) {
    if (!room) return [];
    const key = room.peer ? "to" : "room";
    return this.app.outbox.items.filter(({ request }) =>
      WRITTEN.has(request.type) && request[key] && fold(request[key]) === fold(room.name));
  }

  drawRooms() {
    const { app } = this;
    const items = [...app.chat.rooms].map(([id, room]) => ({ id, room }));
    const make = ({ id }) => el("li", {}, el("button", { type: "button", onclick: () => app.show(app.chat.rooms.get(id)) },
      el("bdi", {}), el("span", { class: "badge" })));
    arrange(byId("room-list"), items, make, (row, { room }) => {
      const button = row.firstChild;
      const mentions = room.mentions && !room.peer ? `, ${counted(room.mentions, "mention")}` : "";
      button.setAttribute("aria-label", room.unread ? `${room.name}, ${room.unread} unread${mentions}` : room.name);
      button.classList.toggle("private", room.peer !== "");
      if (room === app.chat.shown) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
      button.firstChild.textContent = room.name;
      badge(button.lastChild, room.unread, room.mentions);
    });
  }

  drawPeople(room) {
    const { app } = this;
    const people = room ? [...room.people.values()] : [];
    people.sort((one, other) => (fold(one.name) < fold(other.name) ? -1 : 1));
    const more = room ? room.count - people.length : 0;
    byId("people-title").textContent = room ? counted(room.count, "person", "people") : "People";
    byId("people-more").textContent = more > 0 ? `and ${more} more` : "";
    const items = people.map((person) => ({ id: person.name, person }));
    const make = ({ id }) => el("li", {}, el("button", { type: "button", onclick: () => app.sheets.person(id) },
      nameOf(id), el("bdi", { class: "hint" })));
    arrange(byId("people-list"), items, make, (row, { id, person }) => {
      const away = typeof person.away === "string" ? person.away || "away" : "";
      row.classList.toggle("away", away !== "");
      row.firstChild.lastChild.textContent = [id === app.chat.name ? "you" : "", away].filter((each) => each).join(", ");
    });
  }
}

function badge(element, unread, mentions) {
  const shown = unread > 99 ? "99+" : String(unread);
  element.hidden = !unread;
  element.textContent = mentions ? `@${shown}` : shown;
  element.classList.toggle("mentions", mentions > 0);
}
