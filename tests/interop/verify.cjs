// Verifies Remit's evidence with @sigstore/verify and nothing of Remit's: `node verify.cjs NODE_MODULES < cases.json`.
//
// Standard input is a JSON array of cases, standard output one answer for each. See cases.py for what a case is.
"use strict";

const crypto = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");

const modules = process.argv[2];
const { verifyCheckpoint } = require(path.join(modules, "@sigstore/verify/dist/tlog/checkpoint.js"));
const { verifyMerkleInclusion } = require(path.join(modules, "@sigstore/verify/dist/tlog/merkle.js"));

const SPKI = Buffer.from("302a300506032b6570032100", "hex"); // what stands before a raw Ed25519 key (RFC 8410)

function authority(vkey) {
  const [, name, encoded] = vkey.match(/^([^+]+)\+[0-9a-f]{8}\+(.+)$/);
  const raw = Buffer.from(encoded, "base64");
  return {
    logID: crypto.createHash("sha256").update(`${name}\n`).update(raw).digest(),
    publicKey: crypto.createPublicKey({ key: Buffer.concat([SPKI, raw.subarray(1)]), format: "der", type: "spki" }),
    baseURL: name,
    validFor: { start: new Date(0), end: new Date(8.64e15) },
  };
}

function entryOf(record, envelope, index, hashes) {
  return {
    canonicalizedBody: record,
    inclusionProof: { checkpoint: { envelope }, logIndex: index, hashes },
  };
}

function check(one) {
  const file = (name) => Buffer.from(one.Files[name], "base64");
  if (one.Kind === "head") {
    const entry = entryOf(Buffer.alloc(0), file("checkpoint").toString("utf8"), "0", []);
    const found = verifyCheckpoint(entry, [authority(one.Log)]);
    return { size: Number(found.logSize), root: found.logHash.toString("base64") };
  }
  const text = file("proof").toString("utf8");
  const gap = text.indexOf("\n\n");
  const [, index, ...path] = text.slice(0, gap).split("\n");
  const hashes = path.map((line) => Buffer.from(line, "base64"));
  const entry = entryOf(file("record"), text.slice(gap + 2), index.replace(/^index /, ""), hashes);
  const found = verifyCheckpoint(entry, [authority(one.Log)]);
  verifyMerkleInclusion(entry, found);
  return { index: Number(entry.inclusionProof.logIndex), size: Number(found.logSize) };
}

const answers = JSON.parse(fs.readFileSync(0, "utf8")).map((one) => {
  try {
    return { accepted: true, why: "", said: check(one) };
  } catch (error) {
    return { accepted: false, why: `${error.name}: ${error.message}`, said: null };
  }
});
process.stdout.write(JSON.stringify(answers));
