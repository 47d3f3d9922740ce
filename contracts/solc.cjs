#!/usr/bin/env node
/**
 * The Solidity compiler as forge calls it: the npm package `solc`, spoken to over
 * `--standard-json`. Separate from solc's own `solcjs`, whose `--version` forge cannot read. Forge
 * names a package's inner files by absolute path where the native compiler maps names to its base
 * path; here a callback reads them by the relative names that sources import them by.
 * @see https://docs.soliditylang.org/en/latest/path-resolution.html
 */
'use strict';

const { readFileSync, writeSync } = require('node:fs');
const { resolve } = require('node:path');
const solc = require('solc');

/** Reads a source that forge handed over under another name than it is imported by. */
function readImport(name) {
  try {
    return { contents: readFileSync(resolve(__dirname, name), 'utf8') };
  } catch (error) {
    return { error: error.message };
  }
}

/** Writes all of `text`, also into a pipe that is slow to be read. */
function print(text) {
  const bytes = Buffer.from(text);
  for (let written = 0; written < bytes.length;) {
    try {
      written += writeSync(1, bytes, written);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

if (process.argv.includes('--version')) {
  print(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}\n`);
} else if (process.argv.includes('--standard-json')) {
  print(solc.compile(readFileSync(0, 'utf8'), { import: readImport }));
} else {
  process.stderr.write('usage: solc.cjs --version | --standard-json\n');
  process.exitCode = 2;
}
