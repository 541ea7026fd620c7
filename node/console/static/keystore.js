// Opens a keystore file (version 3) as go-ethereum writes it. Errors are sentences for
// the person who chose the file.
import { keccak_256, scryptAsync, pbkdf2Async, sha256 } from "./vendor/noble.js";

const maxBytes = 64 * 1024;
// What deriving a key may cost: the standard scrypt takes 256 MiB, nothing asks for more.
const maxMemory = 512 * 1024 * 1024;

export function bytesOf(hex) {
  if (typeof hex !== "string" || hex.length % 2 || !/^[0-9a-f]*$/i.test(hex)) throw new Error("The file is no keystore file.");
  return Uint8Array.from({ length: hex.length / 2 }, (_, i) => parseInt(hex.slice(2 * i, 2 * i + 2), 16));
}

// open returns the 32 bytes of the private key.
export async function open(file, password) {
  if (file.size > maxBytes) throw new Error("The file is too large for a key file.");
  let box;
  try {
    const parsed = JSON.parse(await file.text());
    box = parsed.version === 3 && (parsed.crypto ?? parsed.Crypto);
  } catch {
    box = null;
  }
  if (!box || box.cipher !== "aes-128-ctr") throw new Error("The file is no keystore file of version 3.");
  const key = await derive(box, new TextEncoder().encode(password));
  const sealed = bytesOf(box.ciphertext);
  const mac = keccak_256(new Uint8Array([...key.slice(16, 32), ...sealed]));
  const want = bytesOf(box.mac);
  if (want.length !== 32 || mac.some((b, i) => b !== want[i])) throw new Error("The password is not that of this key.");
  const cipher = await crypto.subtle.importKey("raw", key.slice(0, 16), "AES-CTR", false, ["decrypt"]);
  const counter = bytesOf(box.cipherparams?.iv);
  const secret = new Uint8Array(await crypto.subtle.decrypt({ name: "AES-CTR", counter, length: 128 }, cipher, sealed));
  if (secret.length !== 32) throw new Error("The file holds no key of 32 bytes.");
  return secret;
}

async function derive(box, password) {
  const p = box.kdfparams ?? {};
  const salt = bytesOf(p.salt);
  if (box.kdf === "scrypt" && 128 * p.n * p.r <= maxMemory && p.dklen === 32) {
    return scryptAsync(password, salt, { N: p.n, r: p.r, p: p.p, dkLen: 32, maxmem: maxMemory + (1 << 20) });
  }
  if (box.kdf === "pbkdf2" && p.prf === "hmac-sha256" && p.c <= 10_000_000 && p.dklen === 32) {
    return pbkdf2Async(sha256, password, salt, { c: p.c, dkLen: 32 });
  }
  throw new Error("The file protects its key in a way that is not known here.");
}
