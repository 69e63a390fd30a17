// The staff's page: the token stays in this tab alone.
import { $, call, row, show } from "./common.js";

const STORE = "barberpro.clave";
let token = sessionStorage.getItem(STORE);
let timer = null;
let drawn = "";
let asked = 0;
let answered = 0;
const headers = () => ({ Authorization: "Bearer " + token });
const ACTIONS = { waiting: [["call", "Llamar"], ["serve", "Sentar"]], called: [["serve", "Sentar"], ["leave", "No vino"]], serving: [["finish", "Terminar"]] };

function buttons(ticket) {
  const group = document.createElement("span");
  group.className = "buttons";
  (ACTIONS[ticket.status] ?? []).forEach(([action, text], at) => {
    const button = document.createElement("button");
    button.type = "button";
    if (at) button.className = "quiet";
    button.textContent = text;
    button.setAttribute("aria-label", `${text} el número ${ticket.number}`);
    button.addEventListener("click", async () => {
      button.disabled = true;
      const { status, body } = await call("POST", `/tickets/${encodeURIComponent(ticket.id)}/${action}`, headers());
      button.disabled = false;
      await refresh();
      if (status !== 200) $("panel-text").textContent = body.detail;
    });
    group.append(button);
  });
  return group;
}

async function refresh() {
  const turn = ++asked;
  const { status, body } = await call("GET", "/queue", headers());
  // On a slow line an older answer may come after a newer one, with a list that is no more.
  if (turn < answered) return;
  answered = turn;
  if (status === 401 || body.code === "admin_token_missing") {
    sessionStorage.removeItem(STORE);
    clearInterval(timer);
    $("enter").hidden = false;
    $("panel").hidden = true;
    show("error", status === 401 ? "La clave no es correcta." : "Este local no tiene clave configurada.");
    return;
  }
  if (status !== 200) {
    $("panel-text").textContent = body.detail;
    return;
  }
  $("enter").hidden = true;
  $("panel").hidden = false;
  show("note", body.note);
  $("panel-text").textContent = body.tickets.length ? `${body.waiting} en espera` : "No hay nadie en la fila.";
  // Only what changed is drawn again: a button must not vanish under a finger.
  const seen = JSON.stringify(body.tickets);
  if (seen !== drawn) $("tickets").replaceChildren(...body.tickets.map((ticket) => row(ticket, buttons(ticket))));
  drawn = seen;
}

async function enter() {
  sessionStorage.setItem(STORE, token);
  clearInterval(timer);
  // A slow answer is waited for: more questions would only make it slower.
  timer = setInterval(() => { if (!document.hidden && answered === asked) refresh(); }, 5000);
  await refresh();
}

$("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  $("token").value = "";
  if (token) enter();
});
if (token) enter();
