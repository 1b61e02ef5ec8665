"use strict";
// The connection: one WebSocket at a time, and when to try again. It knows objects, and nothing of what they mean,
// except that it asks for an answer of its own to see whether the connection still lives.

const PING_EVERY = 25000; // milliseconds; phones and routers keep dead connections "open" for minutes
const ANSWER_WITHIN = 20000; // the server says "busy" after 15 s
const HURRIED_ANSWER = 8000; // when somebody has just come back to the page
const CONNECT_WITHIN = 10000;
const STEADY = 5000; // a connection that lasted this long counts as good
const LONGEST_PAUSE = 30000;
const PING = "ping"; // the ref of our own pings

// The pause before the next try, after so many failed ones: 1 to 2 s, then 2 to 4, up to 15 to 30. It is random, so
// that a class of phones does not come back in the same instant.
function pauseAfter(failed, random) {
  const most = Math.min(LONGEST_PAUSE, 2000 * 2 ** Math.min(failed, 10));
  return most / 2 + random * (most / 2);
}

// `told` has the functions opened(), came(objects) and ended(code, wasOpen). After ended the wire tries again by
// itself, unless stop() was called.
class Wire {
  constructor(url, told) {
    this.url = url;
    this.told = told;
    this.socket = null;
    this.state = "stopped"; // then "waiting", "connecting", "open", and "waiting" again
    this.failed = 0;
    this.timer = 0; // of the one thing that is next: the next try, or the next look at the connection
    this.heard = 0; // when something came
    this.asked = 0; // when we asked for an answer that has not come; 0: we wait for none
    this.ready = false; // whether the server has welcomed us; it answers no ping before
  }

  start() {
    if (this.state === "stopped") this.connect();
  }

  stop() {
    this.drop();
    this.state = "stopped";
  }

  // Somebody looks at the page again, or the network is back: do not wait any longer.
  hurry() {
    if (this.state === "waiting") this.connect();
    else if (this.state === "open" && this.ready && !this.asked) this.ping(HURRIED_ANSWER);
  }

  send(objects) {
    if (this.state !== "open" || !objects.length) return;
    this.socket.send(objects.map((each) => JSON.stringify(each)).join("\n"));
  }

  connect() {
    this.drop();
    this.state = "connecting";
    const socket = new WebSocket(this.url);
    this.socket = socket;
    this.opened = 0;
    socket.onopen = () => {
      this.state = "open";
      this.opened = this.heard = Date.now();
      this.look(CONNECT_WITHIN);
      this.told.opened();
    };
    socket.onmessage = (event) => this.take(String(event.data));
    socket.onclose = (event) => this.over(event.code);
    this.look(CONNECT_WITHIN);
  }

  // Look after so many milliseconds whether the connection lives.
  look(after) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (!this.ready || this.asked) this.over(0);
      else this.ping(ANSWER_WITHIN);
    }, after);
  }

  ping(within) {
    this.asked = Date.now();
    this.send([{ type: "ping", ref: PING }]);
    this.look(within);
  }

  // A frame holds one or more lines.
  take(frame) {
    this.heard = Date.now();
    this.asked = 0;
    const objects = [];
    for (const line of frame.split("\n")) {
      if (line.startsWith("{")) objects.push(JSON.parse(line));
    }
    if (objects.some((each) => each.type === "welcome")) this.ready = true;
    if (this.ready) this.look(PING_EVERY);
    const others = objects.filter((each) => each.ref !== PING);
    if (others.length) this.told.came(others);
  }

  over(code) {
    const wasOpen = this.state === "open";
    const steady = this.opened && Date.now() - this.opened > STEADY;
    this.drop();
    this.state = "waiting";
    if (steady) this.failed = 0;
    this.timer = setTimeout(() => this.connect(), pauseAfter(this.failed, Math.random()));
    this.failed += 1;
    this.told.ended(code, wasOpen);
  }

  // Let go of the socket. Its close may take minutes on a dead network, and is no longer of interest.
  drop() {
    clearTimeout(this.timer);
    this.ready = false;
    this.asked = 0;
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }
}
