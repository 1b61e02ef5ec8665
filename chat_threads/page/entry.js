"use strict";
// The way in: a name and a room.

class Entry {
  // `enter(name, room)` is called when somebody wants to come in.
  constructor(enter, room) {
    byId("first-room").value = room || "#lobby";
    byId("name").value = recall("localStorage", NAME) || "";
    byId("enter").addEventListener("submit", (event) => {
      event.preventDefault();
      const name = byId("name").value.trim();
      const typed = byId("first-room").value.trim();
      this.say("Connecting …");
      if (name) enter(name, typed && !typed.startsWith("#") ? "#" + typed : typed || "#lobby");
    });
  }

  say(text) {
    byId("refused").textContent = text;
    byId("suggested").hidden = true;
  }

  // Show the form, with the reason why somebody is not in, and maybe a name that is free.
  open(why = "", near = "") {
    byId("entry").hidden = false;
    byId("chat").hidden = true;
    this.say(why);
    byId("suggested").hidden = !near;
    byId("suggested").textContent = `Use ${near}`;
    byId("suggested").onclick = () => {
      byId("name").value = near;
      byId("enter").querySelector(".main").click();
    };
    byId("name").focus();
  }

  close() {
    byId("entry").hidden = true;
    byId("chat").hidden = false;
  }
}
