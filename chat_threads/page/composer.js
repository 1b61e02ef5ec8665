"use strict";
// The box to write in: Enter, Tab, and what it offers to complete.

class Composer {
  constructor(app) {
    this.app = app;
    this.text = byId("text");
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    // A tap on Send must not take the focus from the box, or a phone would hide its keyboard.
    for (const press of ["pointerdown", "mousedown"]) {
      byId("send").addEventListener(press, (event) => event.preventDefault());
    }
    this.text.addEventListener("keydown", (event) => this.key(event));
    this.text.addEventListener("input", () => this.changed());
  }

  // Only where no keyboard pops up for it.
  focus() {
    if (matchMedia("(pointer: fine)").matches) this.text.focus();
  }

  put(text) {
    this.text.value = text;
    this.changed();
  }

  key(event) {
    // While an input method composes, Enter chooses a word. Safari says so with the code 229 only.
    if (event.isComposing || event.keyCode === 229) return;
    const enter = event.key === "Enter" && !event.shiftKey;
    if (enter) this.send();
    // Otherwise Tab goes on to the next element, as everywhere.
    const completed = event.key === "Tab" && !event.shiftKey && this.complete(this.found().words[0]);
    if (enter || completed) event.preventDefault();
  }

  send() {
    const typed = this.text.value;
    if (!typed.trim()) return;
    this.put(""); // before another room brings its draft
    if (this.app.line(typed)) return;
    this.put(typed);
    this.app.conversation.newest(); // the reason is there
  }

  changed() {
    const { text } = this;
    text.style.height = "auto";
    text.style.height = `${text.scrollHeight + 2}px`; // up to the max-height of the style sheet
    this.app.conversation.keepEnd();
    this.app.chat.place.draft = text.value;
    this.offer();
  }

  found() {
    const { chat, typed } = this.app;
    const people = chat.shown ? [...chat.shown.people.values()].map((each) => each.name) : [];
    const rooms = [...new Set([...chat.joined.map((room) => room.name), ...chat.known])];
    const before = this.text.value.slice(0, this.text.selectionStart);
    return { before, ...typed.completions(before, people.filter((name) => name !== chat.name), rooms) };
  }

  // Put a word in place of the last one before the caret; false if there is no word.
  complete(word) {
    if (!word) return false;
    const { before, from } = this.found();
    const start = `${before.slice(0, from)}${word}${from || /^[/#]/.test(word) ? "" : ":"} `;
    this.put(start + this.text.value.slice(before.length));
    this.text.setSelectionRange(start.length, start.length);
    this.text.focus();
    return true;
  }

  // Commands are offered as soon as a / is typed, rooms after #, names after @; other words by Tab only.
  offer() {
    const { before, from, words } = this.found();
    const command = this.app.typed.called(before.split(" ")[0]);
    const does = (word) => (this.app.typed.called(word) || { does: "" }).does;
    const usage = command && before.includes(" ") ? [el("code", {}, command.usage), ` ${command.does}`] : [];
    const offers = from >= 0 && /[/#@]/.test(before[from]) ? words : [];
    if (before[from] === "#" && !this.app.chat.known.length) this.app.ask({ type: "rooms" }, () => this.offer());
    byId("offers").replaceChildren(...(offers.length ? offers.map((word) =>
      el("button", { onclick: () => this.complete(word) }, el("b", {}, word), " ", does(word))) : usage));
    byId("offers").hidden = !byId("offers").childNodes.length;
  }
}
