"use strict";
// The connection: one WebSocket at a time, and when to try again. It knows objects, and nothing of what they mean,
// except that it asks for an answer of its own to see whether the connection still lives.

const PING_EVERY = 25000; // milliseconds; phones and routers keep dead connections "open" for minutes
const ANSWER_WITHIN = 20000; // the server says "busy" after 15 s
const HURRIED_ANSWER = 8000; // when somebody has just come back to the page
const CONNECT_WITHIN = 10000;
const TURN_WITHIN = 45000; // while we wait for a turn at passwords, the server says so every 20 s
const STEADY = 5000; // a connection that lasted this long counts as good
const PING = "ping"; // the ref of our own pings

// The pause before the next try, after so many failed ones: 1 to 2 s, then 2 to 4, up to 15 to 30. It is random, so
// that a class of phones does not come back in the same instant.
function pauseAfter(failed, random) {
  return Math.min(30000, 2000 * 2 ** failed) * (0.5 + random / 2);
}

// `told` has the functions opened(), came(objects) and ended(code). After ended the wire tries again by
// itself, unless stop() was called.
class Wire {
  constructor(url, told) {
    this.url = url;
    this.told = told;
    this.state = "stopped"; // then "waiting", "connecting", "open", and "waiting" again
    this.failed = 0;
    this.timer = 0; // of the one thing that is next: the next try, or the next look at the connection
    this.asked = false; // whether we wait for the answer to a ping
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
    else if (this.ready && !this.asked) this.ping(HURRIED_ANSWER);
  }

  // Each object is a message of its own: the server takes none over 64 KiB.
  send(objects) {
    if (this.state === "open") for (const each of objects) this.socket.send(JSON.stringify(each));
  }

  connect() {
    this.drop();
    this.state = "connecting";
    this.opened = 0;
    const socket = (this.socket = new WebSocket(this.url));
    socket.onopen = () => {
      this.state = "open";
      this.opened = Date.now();
      this.told.opened();
    };
    socket.onmessage = (event) => this.take(event.data);
    socket.onclose = (event) => this.over(event.code);
    this.look(CONNECT_WITHIN);
  }

  // Look after so many milliseconds whether the connection lives.
  look(after) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => (this.asked || !this.ready ? this.over(0) : this.ping(ANSWER_WITHIN)), after);
  }

  ping(within) {
    this.asked = true;
    this.send([{ type: "ping", ref: PING }]);
    this.look(within);
  }

  // A frame holds one or more lines.
  take(frame) {
    const objects = frame.trim().split("\n").map((line) => JSON.parse(line));
    this.asked = false;
    if (objects.some((each) => each.type === "welcome")) this.ready = true;
    this.look(this.ready ? PING_EVERY : TURN_WITHIN);
    this.told.came(objects.filter((each) => each.ref !== PING));
  }

  over(code) {
    if (this.opened && Date.now() - this.opened > STEADY) this.failed = 0;
    this.drop();
    this.state = "waiting";
    this.timer = setTimeout(() => this.connect(), pauseAfter(this.failed, Math.random()));
    this.failed += 1;
    this.told.ended(code);
  }

  // Let go of the socket. Its close may take minutes on a dead network, and is no longer of interest.
  drop() {
    clearTimeout(this.timer);
    this.ready = this.asked = false;
    if (!this.socket) return;
    this.socket.onopen = this.socket.onmessage = this.socket.onclose = null;
    this.socket.close();
    this.socket = null;
  }
}
