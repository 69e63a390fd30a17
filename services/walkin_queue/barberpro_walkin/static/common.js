// What the two pages share. Text from anywhere is set as text, never as markup.
export const $ = (id) => document.getElementById(id);
export const API = "/walkin/api/v1";
export const STATES = { waiting: "En espera", called: "Pasá, es tu turno", serving: "En el sillón", finished: "Terminado", left: "Dejaste la fila" };
const SORRY = "No pudimos conectarnos. Revisá tu conexión y probá de nuevo.";

export async function call(method, path, headers = {}, body = undefined) {
  const options = { method, headers: { Accept: "application/json", ...headers } };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  try {
    const response = await fetch(API + path, options);
    return { status: response.status, body: await response.json() };
  } catch {
    return { status: 0, body: { detail: SORRY } };
  }
}

export function wait(ticket) {
  if (ticket.status !== "waiting") return { called: "llamado", serving: "en el sillón" }[ticket.status] ?? "";
  if (ticket.estimated_wait_minutes === null) return "sin hora estimada para hoy";
  if (ticket.estimated_wait_minutes < 1) return "enseguida";
  return `unos ${ticket.estimated_wait_minutes} min (${ticket.estimated_start.slice(11, 16)})`;
}

export function show(id, text) {
  $(id).textContent = text ?? "";
  $(id).hidden = !text;
}

export function row(ticket, extra = undefined) {
  const item = document.createElement("li");
  const at = document.createElement("span");
  at.className = "at";
  at.textContent = ticket.number;
  const grow = document.createElement("span");
  grow.className = "grow";
  const what = document.createElement("span");
  what.textContent = ticket.service_name + (ticket.name ? " · " + ticket.name : "");
  const when = document.createElement("span");
  when.className = ticket.status === "waiting" ? "small muted" : "small now";
  when.textContent = wait(ticket);
  grow.append(what, when);
  item.append(at, grow);
  if (extra) item.append(extra);
  return item;
}
