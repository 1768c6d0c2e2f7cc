// What both scenario files share: named scenarios and exact comparison, as `harness.py` has them for Python.
//
// A scenario file is run by `clients.py` as `FILE NAME=HOST:PORT...`. Every scenario prints `ok NAME` or
// `FAIL NAME: why`; the exit status is 1 if any failed.
"use strict";

const { isDeepStrictEqual } = require("node:util");

// How long a client waits before it calls a missing reply a failure.
const PATIENCE = 20000;

const scenarios = [];

function scenario(name, body) {
    scenarios.push([name, body]);
}

function same(actual, expected, what = "value") {
    if (!isDeepStrictEqual(actual, expected)) {
        throw new Error(`${what} is ${JSON.stringify(actual)}, expected ${JSON.stringify(expected)}`);
    }
}

// The first `count` of what a client made of a reply of whole bytes.
function first(count, values) {
    return Array.from(values).slice(0, count);
}

function servers() {
    return Object.fromEntries(process.argv.slice(2).map((pair) => {
        const [name, address] = pair.split("=");
        const colon = address.lastIndexOf(":");
        return [name, { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) }];
    }));
}

// Runs the scenarios one after another, each with what `setup(servers)` resolves to, and ends the process.
async function runAll(setup) {
    const context = await setup(servers());
    let failed = 0;
    let running = "the first scenario";
    // Node ends, content, when nothing is left that could still happen.
    process.once("beforeExit", () => {
        console.log(`FAIL ${running}: its call is never answered`);
        process.exit(1);
    });
    for (const [name, body] of scenarios) {
        running = name;
        try {
            await body(context);
            console.log(`ok ${name}`);
        } catch (error) {
            failed += 1;
            console.log(`FAIL ${name}: ${error.message ?? JSON.stringify(error)}`);
            if (process.env.WHARF_CLIENTS_TRACE) {
                console.error(error);
            }
        }
    }
    process.exit(failed ? 1 : 0);
}

module.exports = { PATIENCE, first, runAll, same, scenario };
