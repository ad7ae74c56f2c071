"use strict";
const byId = (id) => document.getElementById(id);
const MIN_PASSWORD = 12;
const token = location.hash.slice(1);
// The token has been read: it need not stay in the address bar, nor in the history.
history.replaceState(null, "", location.pathname);

function complain(message, field) {
  byId("problem").textContent = message;
  byId("problem").hidden = false;
  for (const input of byId("form").querySelectorAll("input")) {
    input.setAttribute("aria-invalid", String(input === field));
  }
  if (field) field.focus();
}

function forgive() {
  byId("problem").hidden = true;
  for (const input of byId("form").querySelectorAll("input")) input.removeAttribute("aria-invalid");
}

async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const json = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(json.detail || "the server answered " + answer.status), json);
  return json;
}

function wrongField() {
  const [username, password, again] = ["username", "password", "again"].map(byId);
  if (!username.value.trim()) return ["Write a name.", username];
  if ([...password.value].length < MIN_PASSWORD) {
    return ["The password has fewer than " + MIN_PASSWORD + " characters.", password];
  }
  if (again.value !== password.value) return ["The two passwords are not the same.", again];
  return null;
}

function celebrate(user) {
  byId("form").hidden = true;
  byId("intro").hidden = true;
  byId("heading").textContent = "All set";
  byId("who").textContent = user.username;
  const server = location.origin + location.pathname.replace(/\/setup$/, "");
  byId("chat").textContent = "netra chat --url " + server + " --user " + user.username;
  byId("done").hidden = false;
  byId("heading").focus();
}

async function send(event) {
  event.preventDefault();
  forgive();
  const wrong = wrongField();
  if (wrong) return complain(...wrong);
  const username = byId("username").value.trim();
  const password = byId("password").value;
  byId("send").disabled = true;
  try {
    const made = await post("api/auth/setup", { token, username, password });
    await post("api/auth/login", { username, password });
    celebrate(made.user);
  } catch (error) {
    const message = String(error.message);
    complain(message.charAt(0).toUpperCase() + message.slice(1) + ".");
  } finally {
    byId("send").disabled = false;
  }
}

byId("form").addEventListener("submit", send);
if (token) {
  byId("username").focus();
} else {
  byId("form").hidden = true;
  complain("This address lacks its token. Open the whole link that netra serve printed, with everything after #.");
}
