// The customers' page of the queue.
import { $, STATES, call, row, show, wait } from "./common.js";

const STORE = "barberpro.numero";
let mine = null;
let key = null; // idempotency key of the attempt under way: a retry after a lost answer gets the same number
let keyFor = null;

function remember(id) {
  try {
    if (id) localStorage.setItem(STORE, id);
    else localStorage.removeItem(STORE);
  } catch { /* private windows may refuse; the number stands all the same */ }
}

function recall() {
  try {
    return localStorage.getItem(STORE);
  } catch {
    return null;
  }
}

function showMine(ticket) {
  mine = ticket;
  const active = ["waiting", "called", "serving"].includes(ticket.status);
  $("mine").hidden = false;
  $("take").hidden = true;
  $("mine").classList.toggle("called", ticket.status === "called");
  $("mine-number").textContent = ticket.number;
  show("mine-state", ticket.status === "waiting" ? `Espera: ${wait(ticket)}` : STATES[ticket.status]);
  show("mine-detail", ticket.status === "waiting" ? `${ticket.service_name} · lugar ${ticket.position} en la fila` : ticket.service_name);
  $("leave").hidden = !["waiting", "called"].includes(ticket.status);
  $("again").hidden = active;
  if (!active) remember(null);
}

async function refresh() {
  const { status, body } = await call("GET", "/queue");
  if (status !== 200) {
    $("queue-text").textContent = body.detail;
  } else {
    show("note", body.note);
    const people = body.waiting === 1 ? "1 persona esperando" : `${body.waiting} personas esperando`;
    $("queue-text").textContent = (body.open === false ? "El local está cerrado. " : "") + (body.waiting ? people : "No hay nadie esperando.");
    $("queue").replaceChildren(...body.tickets.map((ticket) => {
      const item = row(ticket);
      if (mine && mine.number === ticket.number) item.classList.add("own");
      return item;
    }));
  }
  if (mine && !["finished", "left"].includes(mine.status)) await load(mine.id);
}

async function load(id) {
  const { status, body } = await call("GET", "/tickets/" + encodeURIComponent(id));
  if (status === 200) showMine(body);
  else if (status === 404) {
    remember(null);
    mine = null;
    $("mine").hidden = true;
    $("take").hidden = false;
  }
}

async function take(event) {
  event.preventDefault();
  const request = { service: $("service").value, name: $("name").value.trim() || null };
  if (keyFor !== JSON.stringify(request)) {
    key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    keyFor = JSON.stringify(request);
  }
  show("error", "");
  $("submit").disabled = true;
  const { status, body } = await call("POST", "/tickets", { "Idempotency-Key": key }, request);
  $("submit").disabled = false;
  if (status !== 201) {
    if (status === 422) keyFor = null;
    show("error", body.detail);
    return;
  }
  keyFor = null;
  remember(body.id);
  showMine(body);
  $("mine").focus();
  refresh();
}

$("take").addEventListener("submit", take);
$("leave").addEventListener("click", async () => {
  const { status, body } = await call("POST", `/tickets/${encodeURIComponent(mine.id)}/leave`);
  if (status === 200) showMine(body);
  else show("mine-detail", body.detail);
  refresh();
});
$("again").addEventListener("click", () => {
  mine = null;
  $("mine").hidden = true;
  $("take").hidden = false;
});
const stored = recall();
if (stored) await load(stored);
await refresh();
setInterval(() => { if (!document.hidden) refresh(); }, 10000);
