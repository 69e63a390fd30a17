// The booking page's behaviour. Text from anywhere is set as text, never as markup.
const $ = (id) => document.getElementById(id);
const form = $("booking");
const STORE = "barberpro.turnos";
const BEFORE = "barberpro.turno"; // the last booking alone, as earlier revisions of this page kept it
const SORRY = "No pudimos conectarnos. Revisá tu conexión y probá de nuevo.";
let key = null; // idempotency key of the attempt under way; kept over network failures, so that a retry books once
let keyFor = null;
let loading = 0; // number of the newest request for slots; older answers are ignored

function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function call(method, path, headers = {}, body = undefined) {
  const options = { method, headers: { Accept: "application/json", ...headers } };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    return { status: 0, body: { detail: SORRY } };
  }
  const text = await response.text();
  try {
    return { status: response.status, body: JSON.parse(text) };
  } catch {
    return { status: response.status, body: { detail: SORRY } };
  }
}

const chosen = (name) => form.querySelector(`input[name="${name}"]:checked`);
const price = (amount) => {
  const whole = Number.isInteger(amount) ? 0 : 2;
  const number = new Intl.NumberFormat("es-AR", { minimumFractionDigits: whole, maximumFractionDigits: whole }).format(amount);
  return (document.body.dataset.currency === "ARS" ? "$" : document.body.dataset.currency) + " " + number;
};
// Times carry the shop's own offset: their text is what its clock shows, wherever the customer's phone is.
const clock = (iso) => iso.slice(11, 16);
const longDay = (iso) =>
  new Intl.DateTimeFormat("es-AR", { weekday: "long", day: "numeric", month: "long", timeZone: "UTC" }).format(
    new Date(iso.slice(0, 10) + "T12:00:00Z")).replace(",", "");

function reveal(id, scroll = true) {
  const step = $(id);
  const first = step.hidden;
  step.hidden = false;
  if (scroll && first) step.scrollIntoView({ block: "start" });
}

function fail(id, text, fields = []) {
  $(id).textContent = text;
  $(id).hidden = !text;
  for (const name of ["name", "phone"]) $(name).setAttribute("aria-invalid", String(fields.includes(name)));
  if (fields.length) $(fields[0]).focus();
}

function onService() {
  const service = chosen("service").value;
  for (const chip of form.querySelectorAll(".chip[data-services]")) {
    const offers = chip.dataset.services.split(" ").includes(service);
    chip.hidden = !offers;
    if (!offers) chip.querySelector("input").checked = false;
  }
  if (!chosen("staff")) form.querySelector('input[name="staff"][value=""]').checked = true;
  reveal("step-staff");
  reveal("step-day", false);
  if (!chosen("day")) {
    const first = form.querySelector('input[name="day"]:not([disabled])');
    if (first) first.checked = true;
  }
  loadSlots();
}

function clearSlots() {
  $("slots").replaceChildren();
  $("next-day").hidden = true;
  $("step-customer").hidden = true;
}

function showSlots(slots) {
  // With "anybody" several people may be free at one time: one button each time; the service picks who.
  const byTime = new Map();
  for (const slot of slots) if (!byTime.has(slot.start)) byTime.set(slot.start, slot);
  const groups = [["A la mañana", "00:00", "12:59"], ["A la tarde", "13:00", "17:59"], ["Última hora", "18:00", "23:59"]];
  for (const [title, from, to] of groups) {
    const inside = [...byTime.values()].filter((slot) => clock(slot.start) >= from && clock(slot.start) <= to);
    if (!inside.length) continue;
    const group = document.createElement("div");
    group.className = "slot-group";
    const heading = document.createElement("h3");
    heading.textContent = title;
    const grid = document.createElement("div");
    grid.className = "slot-grid";
    for (const slot of inside) {
      const label = document.createElement("label");
      label.className = "slot";
      const input = document.createElement("input");
      input.type = "radio";
      input.name = "slot";
      input.value = slot.start;
      const text = document.createElement("span");
      text.textContent = clock(slot.start);
      label.append(input, text);
      grid.append(label);
    }
    group.append(heading, grid);
    $("slots").append(group);
  }
}

async function loadSlots() {
  const number = ++loading;
  const day = chosen("day");
  clearSlots();
  reveal("step-slot", false);
  if (!day) {
    $("slots-status").textContent = "No hay días abiertos por ahora.";
    return;
  }
  day.closest(".day").scrollIntoView({ block: "nearest", inline: "center" });
  $("slots-status").textContent = "Buscando turnos…";
  const query = new URLSearchParams({ service: chosen("service").value, date: day.value });
  if (chosen("staff")?.value) query.set("staff", chosen("staff").value);
  const { status, body } = await call("GET", "/api/v1/availability?" + query);
  if (number !== loading) return;
  if (status !== 200) {
    $("slots-status").textContent = body.detail;
    return;
  }
  $("slots-status").textContent = body.slots.length ? "" : `No quedan turnos para ${day.dataset.name}.`;
  $("next-day").hidden = body.slots.length > 0;
  showSlots(body.slots);
}

async function nextDay() {
  const days = [...form.querySelectorAll('input[name="day"]:not([disabled])')];
  const query = new URLSearchParams({ service: chosen("service").value });
  if (chosen("staff")?.value) query.set("staff", chosen("staff").value);
  $("next-day").disabled = true;
  for (const day of days.slice(days.findIndex((item) => item.checked) + 1)) {
    query.set("date", day.value);
    const { status, body } = await call("GET", "/api/v1/availability?" + query);
    if (status !== 200) break;
    if (body.slots.length) {
      day.checked = true;
      $("next-day").disabled = false;
      await loadSlots();
      return;
    }
  }
  $("next-day").disabled = false;
  $("slots-status").textContent = "No encontramos turnos en las próximas semanas.";
}

function onSlot() {
  const slot = chosen("slot").value;
  const who = chosen("staff")?.dataset.name;
  const service = chosen("service").dataset;
  $("summary-what").textContent = `${service.name}${who ? " con " + who : ""} · ${service.price}`;
  $("summary-when").textContent = `${longDay(slot)} a las ${clock(slot)}`;
  fail("form-error", "");
  reveal("step-customer");
}

async function book(event) {
  event.preventDefault();
  const name = $("name").value.trim();
  const phone = $("phone").value.trim();
  const digits = phone.replace(/\D/g, "").length;
  if (!name) return fail("form-error", "Escribí tu nombre.", ["name"]);
  if (digits < 6 || digits > 15 || !/^\+?[0-9 ().\/-]+$/.test(phone)) {
    return fail("form-error", "Escribí un teléfono con característica, por ejemplo 11 5555-1234.", ["phone"]);
  }
  const request = {
    service: chosen("service").value, staff: chosen("staff")?.value || null, start: chosen("slot").value, customer: { name, phone },
  };
  const text = JSON.stringify(request);
  if (keyFor !== text) [key, keyFor] = [newKey(), text];
  fail("form-error", "");
  $("submit").disabled = true;
  $("submit").textContent = "Reservando…";
  const { status, body } = await call("POST", "/api/v1/bookings", { "Idempotency-Key": key }, request);
  $("submit").disabled = false;
  $("submit").textContent = "Reservar turno";
  if (status === 201) {
    keyFor = null;
    remember(body);
    show(body);
    form.hidden = true;
    form.reset();
    for (const id of ["step-staff", "step-day", "step-slot", "step-customer"]) $(id).hidden = true;
    return undefined;
  }
  if (status === 409 || status === 422) keyFor = null;
  if (status === 409) {
    await loadSlots();
    $("slots-status").textContent = body.detail;
    $("step-slot").scrollIntoView({ block: "start" });
    return undefined;
  }
  return fail("form-error", body.detail || SORRY);
}

function stored(name) {
  try {
    return JSON.parse(localStorage.getItem(name));
  } catch {
    return null; // nothing remembered, or nothing that this page wrote
  }
}

// Id and token of every booking made here: with another browser, or once they are lost, nobody can see or cancel it.
function remembered() {
  const all = stored(STORE);
  const found = Array.isArray(all) ? all.filter((item) => item?.id) : [];
  const before = stored(BEFORE);
  return before?.id && !found.some((item) => item.id === before.id) ? [...found, before] : found;
}

function keep(bookings) {
  try {
    localStorage.setItem(STORE, JSON.stringify(bookings.map(({ id, token }) => ({ id, token }))));
    localStorage.removeItem(BEFORE);
  } catch { /* private windows may refuse; the bookings stand all the same */ }
}

function remember(booking) {
  keep([...remembered().filter((item) => item.id !== booking.id), booking]);
  mine.set(booking.id, booking);
}

function forget(id) {
  keep(remembered().filter((item) => item.id !== id));
  mine.delete(id);
}

const mine = new Map(); // the bookings to come, by id
const inOrder = () => [...mine.values()].sort((one, other) => new Date(one.start) - new Date(other.start));

function showOthers() {
  const box = $("others");
  if (!box) return; // the page came from the revision before, the script did not
  const card = !$("mine").hidden;
  const others = inOrder().filter((booking) => !card || booking.id !== shown?.id);
  box.hidden = !others.length;
  $("others-title").textContent = card ? "Tus otros turnos" : "Tus turnos";
  $("others-list").replaceChildren(...others.map((booking) => {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet";
    button.textContent = `${booking.service_name}, ${longDay(booking.start)} a las ${clock(booking.start)}`;
    button.addEventListener("click", () => {
      form.hidden = true;
      show(booking);
    });
    item.append(button);
    return item;
  }));
}

let shown = null;
function show(booking, focus = true) {
  shown = booking;
  const cancelled = booking.status === "cancelled";
  $("mine").hidden = false;
  $("mine").classList.toggle("cancelled", cancelled);
  $("mine-stamp").textContent = cancelled ? "Cancelado" : "Confirmado";
  $("mine-title").textContent = cancelled ? "Turno cancelado" : "¡Te esperamos!";
  $("mine-when").textContent = `${longDay(booking.start)} a las ${clock(booking.start)}`;
  $("mine-service").textContent = booking.service_name;
  $("mine-staff").textContent = booking.staff_name;
  $("mine-price").textContent = price(booking.price);
  $("mine-hint").hidden = cancelled;
  $("cancel").hidden = cancelled;
  fail("mine-error", "");
  showOthers();
  if (focus) {
    $("mine").focus();
    $("mine").scrollIntoView({ block: "center" });
  }
}

async function restore() {
  const asked = remembered().map(async ({ id, token }) => {
    const { status, body } = await call("GET", "/api/v1/bookings/" + encodeURIComponent(id), { "X-Booking-Token": token });
    if (status === 200 && body.status === "confirmed" && new Date(body.end) > new Date()) mine.set(id, { ...body, token });
    else if (status === 200 || status === 404) forget(id);
  });
  await Promise.all(asked);
  // Whoever has begun to book meanwhile goes on; the list is there all the same.
  if (!mine.size || shown || chosen("service")) return showOthers();
  form.hidden = true;
  return show(inOrder()[0], false);
}

async function cancel() {
  $("confirm").close();
  $("cancel").disabled = true;
  const { status, body } = await call("DELETE", "/api/v1/bookings/" + encodeURIComponent(shown.id), { "X-Booking-Token": shown.token });
  $("cancel").disabled = false;
  if (status !== 200) return fail("mine-error", body.detail || SORRY);
  forget(shown.id);
  return show(body);
}

form.addEventListener("change", (event) => {
  const { name } = event.target;
  if (name === "service") onService();
  else if (name === "staff" || name === "day") loadSlots();
  else if (name === "slot") onSlot();
});
form.addEventListener("submit", book);
$("next-day").addEventListener("click", nextDay);
$("another").addEventListener("click", () => {
  $("mine").hidden = true;
  showOthers();
  form.hidden = false;
  form.scrollIntoView();
});
$("cancel").addEventListener("click", () => {
  $("confirm-text").textContent = `${shown.service_name}, ${longDay(shown.start)} a las ${clock(shown.start)}.`;
  $("confirm").showModal();
});
$("confirm-no").addEventListener("click", () => $("confirm").close());
$("confirm-yes").addEventListener("click", cancel);
restore();
