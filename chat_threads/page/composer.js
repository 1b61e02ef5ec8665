"use strict";
// The box to write in: Enter, Tab, what it offers to complete, and the lines that were typed before.

const MOST_OFFERS = 40;

class Composer {
  constructor(app) {
    this.app = app;
    this.text = byId("text");
    this.offers = byId("offers");
    this.before = []; // what was sent, for the Up key
    this.at = 0;
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    // A tap on Send must not take the focus from the box, or a phone would hide its keyboard.
    for (const press of ["pointerdown", "mousedown"]) byId("send").addEventListener(press, (event) => event.preventDefault());
    this.text.addEventListener("keydown", (event) => this.key(event));
    this.text.addEventListener("input", () => this.changed());
  }

  // Only where no keyboard pops up for it.
  focus() {
    if (this.app.fine) this.text.focus();
  }

  insert(words) {
    this.text.value = this.text.value ? `${this.text.value.replace(/\s*$/, " ")}${words}` : words;
    this.text.focus();
    this.changed();
  }

  show(room) {
    this.text.value = room ? room.draft : "";
    const where = room ? room.name : "";
    this.text.placeholder = room && room.peer ? `Message to ${where} alone` : `Message ${where}`;
    this.changed();
  }

  key(event) {
    // While an input method composes, Enter chooses a word. Safari says so with the code 229 only.
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      this.send();
    } else if (event.key === "Tab" && !event.shiftKey && this.complete()) {
      event.preventDefault(); // otherwise Tab goes on to the next element, as everywhere
    } else if (event.key === "Escape" && !this.offers.hidden) {
      event.stopPropagation();
      this.offers.hidden = true;
    } else if (event.key === "ArrowUp" && (!this.text.value || this.text.value === this.before[this.at])) {
      this.recall(-1, event);
    } else if (event.key === "ArrowDown" && this.text.value && this.text.value === this.before[this.at]) {
      this.recall(1, event);
    }
  }

  recall(step, event) {
    const at = Math.min(this.before.length, Math.max(0, this.at + step));
    if (at === this.at) return;
    event.preventDefault();
    this.at = at;
    this.text.value = this.before[at] || "";
    this.changed();
  }

  send() {
    const typed = this.text.value;
    if (!typed.trim() || !this.app.line(typed)) return;
    this.before.push(typed);
    this.before.splice(0, this.before.length - 100);
    this.at = this.before.length;
    this.text.value = "";
    this.changed();
  }

  changed() {
    const { text } = this;
    text.style.height = "auto";
    text.style.height = `${text.scrollHeight}px`; // up to the max-height of the style sheet
    if (this.app.chat.shown) this.app.chat.shown.draft = text.value;
    this.offer();
  }

  found() {
    const { chat, typed } = this.app;
    const caret = this.text.selectionStart;
    const before = this.text.value.slice(0, caret);
    const names = chat.shown ? [...chat.shown.people.values()].map((each) => each.name).filter((name) => name !== chat.name) : [];
    const rooms = [...new Set([...chat.joined.map((room) => room.name), ...chat.known.map((each) => each.room)])];
    return { ...typed.completions(before, names, rooms), before, after: this.text.value.slice(caret) };
  }

  // Complete the last word with the first offer; false if there is none.
  complete() {
    const { from, words, before, after } = this.found();
    if (!words.length) return false;
    this.put(before.slice(0, from), words[0].word, after);
    return true;
  }

  put(before, word, after) {
    const start = `${before}${word}${before || word.startsWith("/") || word.startsWith("#") ? "" : ":"} `;
    this.text.value = start + after;
    this.text.setSelectionRange(start.length, start.length);
    this.changed();
  }

  // Commands are offered as soon as a / is typed, rooms after #, names after @; other words by Tab only.
  offer() {
    const { from, words, before, after } = this.found();
    const word = before.slice(from);
    const command = this.app.typed.called(before.split(" ")[0]);
    let shown = [];
    if (/^[/#@]/.test(word) && words.length) {
      if (word.startsWith("#") && !this.app.chat.listed && this.app.wire.ready) {
        this.app.chat.listed = true;
        this.app.ask({ type: "rooms" }, () => this.offer());
      }
      shown = words.slice(0, MOST_OFFERS).map((each) =>
        el("button", { type: "button", onmousedown: (event) => event.preventDefault(), onclick: () => {
          this.put(before.slice(0, from), each.word, after);
          this.text.focus();
        } }, el("b", {}, el("bdi", {}, each.usage || each.word)), each.does ? el("span", { class: "hint" }, each.does) : null));
    } else if (command && /\s/.test(before)) {
      shown = [el("p", {}, el("code", {}, command.usage), el("span", { class: "hint" }, ` ${command.does}`))];
    }
    this.offers.replaceChildren(...shown);
    this.offers.hidden = !shown.length;
  }
}
