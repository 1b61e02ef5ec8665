"use strict";
// The outbox: requests that have no answer yet, in the order in which they were made. docs/protocol.rst, "Exactly
// once": under the same token, the server does a `say` with the same ref once, however often it comes.

// Requests that may be carried out twice without harm.
const HARMLESS = /^(join|rooms|who|topic|whois|away|back|unignore|history|search|set|stats|ping|token|qr)$/;
const SAID = /^(say|action)$/; // the server remembers their refs
const WRITTEN = /^(say|action|private|reply)$/; // what people wrote; it is shown while it waits
const MOST_WAITING = 1000; // items; a class that pastes a book must wait

// What somebody typed for such a request. It says whom it is for, so that it can be taken back in any room.
function asTyped({ type, to, text }) {
  const command = { action: "/me ", private: `/msg ${to} `, reply: "/reply " }[type];
  return (command || (text[0] === "/" ? "/" : "")) + text;
}

class Outbox {
  // `store` keeps a string: save(text) and load(). `prefix` begins every ref: another tab may have the same token, and
  // its refs must be others.
  constructor(store, prefix) {
    this.store = store;
    this.prefix = prefix;
    this.made = 0;
    this.most = 256; // unanswered requests that the server remembers; it says so in `welcome`
    // Each item: ref, request, at (when it was made), state, and the token under which it was sent.
    // States: "waiting" -> "sent" -> answered and gone, or "unsure": sent, and nobody knows whether it was done;
    // or "refused": the server did not do it, and `why` says so; or "later": to be sent again on the next connection.
    this.items = JSON.parse(store.load() || "[]");
  }

  find(ref) {
    return this.items.find((each) => each.ref === ref);
  }

  add(request, at) {
    this.made += 1;
    const ref = `${this.prefix}-${this.made}`;
    const item = { ref, request: { ...request, ref }, at, state: "waiting", token: "" };
    this.items.push(item);
    this.save();
    return item;
  }

  // What can be sent now, in order. It counts as sent from here on.
  take(token) {
    const sent = this.items.filter((each) => each.state === "sent").length;
    const next = this.items.filter((each) => each.state === "waiting").slice(0, Math.max(0, this.most - sent));
    for (const item of next) Object.assign(item, { state: "sent", token });
    if (next.length) this.save();
    return next.map((item) => item.request);
  }

  // The server has welcomed us again, under `token`. What was sent before and not answered waits again if it can be
  // sent again; otherwise it is "unsure". `forgotten`: the server did not know our token any more, so it has stored
  // nothing that was sent under it and not acknowledged. Returns how many are unsure and shown nowhere.
  back(token, forgotten) {
    this.items = this.items.filter((each) => !each.came); // all others have seen them, too
    for (const item of this.items.filter((each) => /sent|later/.test(each.state))) {
      const { type } = item.request;
      const known = forgotten || (item.token && item.token === token);
      const again = HARMLESS.test(type) || (SAID.test(type) && known);
      Object.assign(item, again ? { state: "waiting" } : { state: "unsure", why: "It may have arrived or not." });
    }
    const all = this.items.length;
    this.items = this.items.filter((each) => each.state !== "unsure" || WRITTEN.test(each.request.type));
    this.save();
    return all - this.items.length;
  }

  // With "waiting" it is sent again, with the same ref: should it have been stored after all, it is stored once.
  set(item, state, why = "") {
    Object.assign(item, { state, why });
    this.save();
  }

  drop(item) {
    this.items = this.items.filter((each) => each !== item);
    this.save();
  }

  save() {
    this.store.save(JSON.stringify(this.items.filter((each) => WRITTEN.test(each.request.type))));
  }
}
