// Serves fixtures with aimock until it is killed, and prints the address as its first line.
// Its own command line can take a free port as well, but says which only within its log.
//
//   node serve.mjs PATH_OF_AIMOCK PORT FIXTURES

import { pathToFileURL } from "node:url";

const [library, port, fixtures] = process.argv.slice(2);
const { LLMock } = await import(pathToFileURL(library));

const mock = new LLMock({ host: "127.0.0.1", port: Number(port), logLevel: "silent" });
mock.loadFixtureFile(fixtures);
const url = await mock.start();
console.log(url);
