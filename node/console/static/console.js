// What pages do beyond htmx.
import { signInForm } from "./sign-in.js";

const form = document.getElementById("sign-in");
if (form) signInForm(form);

// A session that is over ends the stream of the picture: then the page asks for itself
// again, and the node shows the sign-in.
document.body.addEventListener("htmx:sseMessage", (event) => {
  if (event.detail.type === "ended") location.reload();
});
// The stream broke: the session is over, or the node has gone, and then what is shown is
// old and says so until the stream is back.
document.body.addEventListener("htmx:sseError", async () => {
  const answer = await fetch(location.href, { method: "HEAD", redirect: "manual" }).catch(() => null);
  if (answer?.type === "opaqueredirect") {
    location.reload();
    return;
  }
  const verdict = document.getElementById("verdict");
  if (answer?.ok || !verdict) return;
  verdict.className = "note bad";
  verdict.textContent = "This node does not answer: what is shown is what it said last. If it stays so, look whether assentd runs on its machine.";
});
