"use strict";
// Asking the server, for the pages of --lab: one request at a time, none while the page is hidden, and fewer when the
// answers are slow. So a page on the projector costs the server little, however many are open.

const EVERY = 500; // milliseconds from one answer to the next question
const SLOWER = 4; // an answer that took long is followed by a pause that is this many times as long
const AFTER_ERROR = 2000; // milliseconds
const LONGEST = 10000; // milliseconds, for a pause and for an answer

// The object that the server answers with; throws an Error with a sentence for the reader.
async function ask(path) {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), LONGEST);
  let answer;
  try {
    answer = await fetch(path, { signal: stop.signal, cache: "no-store" });
    if (answer.ok) return await answer.json();
  } catch (error) {
    throw new Error("The server does not answer. Trying again.");
  } finally {
    clearTimeout(timer);
  }
  throw new Error((await answer.text()).trim().slice(0, 300));
}

// Call `look` again and again. It is async; when it throws, the error's words are said.
function repeat(look, every = EVERY) {
  let timer = 0;
  let running = false;

  async function once() {
    timer = 0;
    if (running || document.hidden) return;
    running = true;
    const began = performance.now();
    let pause = every;
    try {
      await look();
    } catch (error) {
      say(error.message, true);
      pause = AFTER_ERROR;
    }
    running = false;
    const took = performance.now() - began;
    if (!timer) timer = setTimeout(once, Math.min(LONGEST, Math.max(pause, SLOWER * took)));
  }

  function soon() {
    clearTimeout(timer);
    timer = 0;
    once();
  }

  document.addEventListener("visibilitychange", () => document.hidden || soon());
  soon();
  return soon;
}

// Say something at the top of the page. A screen reader says it aloud, so the text is touched only when it changes.
function say(words, wrong = false) {
  const state = byId("state");
  state.className = wrong ? "wrong" : "";
  if (state.textContent !== words) state.textContent = words;
}

// A time in seconds, as people say it.
function seconds(number) {
  return number < 60 ? `${number.toFixed(1)} s` : span(number);
}
