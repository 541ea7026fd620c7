// Signs in: opens the key in this page, signs the node's challenge and forgets the key.
import { keccak_256, secp256k1 } from "./vendor/noble.js";
import { open } from "./keystore.js";

const text = (s) => new TextEncoder().encode(s);
const hex = (b) => Array.from(b, (x) => x.toString(16).padStart(2, "0")).join("");
const base64url = (b) => btoa(String.fromCharCode(...b)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

// token is an ES256K JSON web token: see package node/api/token.
export async function token(secret, { org, audience, id, now }) {
  const whole = secp256k1.getPublicKey(secret, false);
  const issued = Math.floor(now / 1000);
  const claims = { iss: "0x" + hex(keccak_256(whole.slice(1)).slice(12)), sub: org, aud: [audience], iat: issued, exp: issued + 120, jti: id };
  const said = base64url(text(JSON.stringify({ alg: "ES256K", typ: "JWT" }))) + "." + base64url(text(JSON.stringify(claims)));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", text(said)));
  return said + "." + base64url(secp256k1.sign(digest, secret, { prehash: false }));
}

export function signInForm(form) {
  const said = form.querySelector("#said");
  const button = form.querySelector("button");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    said.hidden = true;
    try {
      const { challenge, audience, org, next, session } = form.dataset;
      const secret = await open(form.elements.key.files[0], form.elements.password.value);
      const signed = await token(secret, { org, audience, id: challenge, now: Date.now() });
      secret.fill(0);
      form.elements.password.value = "";
      const answer = await fetch(session, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token: signed }) });
      if (answer.ok) {
        location.assign(next);
        return;
      }
      const why = await answer.json().catch(() => null);
      throw new Error("Not signed in: " + (why?.error ?? "the node answered " + answer.status) + ".");
    } catch (e) {
      said.textContent = e instanceof TypeError ? "The node does not answer. Is it running?" : e.message;
      said.hidden = false;
      form.elements.password.focus();
    } finally {
      button.disabled = false;
    }
  });
}
