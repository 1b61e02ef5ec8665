"use strict";
// What this browser keeps: how the reader wants to see things.

const NAME = "chat_threads name"; // in localStorage: how somebody was called last time
const SETTINGS = "chat_threads settings"; // in localStorage, likewise

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

class Settings {
  constructor(app) {
    this.app = app;
    this.values = { timestamps: "on", numbers: "off", colour: "on", bell: "off", joins: "on", replay: "50" };
    try {
      Object.assign(this.values, JSON.parse(recall("localStorage", SETTINGS)));
    } catch (error) {
      // Whatever is there is not ours.
    }
    this.dress();
  }

  // Show or change a setting; `say`: in words, as the answer to a command.
  set(option, value, say = false) {
    const { app, values } = this;
    const allowed = { timestamps: ["on", "off", "seconds"], replay: null };
    const fits = option && option in values && (option === "replay" || (allowed[option] || ["on", "off"]).includes(value));
    if (option && !fits) return app.problem("There is no such setting. /help set lists the options.");
    if (option) values[option] = value;
    keep("localStorage", SETTINGS, JSON.stringify(values));
    this.dress();
    if (option === "bell" && value === "on") this.ring();
    const all = Object.entries(values).map(([key, each]) => `${key} ${each}`).join(", ");
    if (say) app.chat.note(app.chat.shown, { text: option ? `${option} is ${value} now.` : `Set: ${all}.` });
    return app.draw();
  }

  dress() {
    const { values } = this;
    document.body.classList.toggle("plain-names", values.colour === "off");
    this.looks = { timestamps: values.timestamps, numbers: values.numbers === "on", joins: values.joins === "on",
      looks: values.timestamps + values.numbers };
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
}
