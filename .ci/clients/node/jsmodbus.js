// jsmodbus: functions 1 to 6, 15, 16 and 43/14, by value and with exceptions.
"use strict";

const net = require("node:net");
const { once } = require("node:events");
const { ModbusTCPClient } = require("jsmodbus");
const { PATIENCE, first, runAll, same, scenario } = require("./harness.js");

async function connected({ plant }) {
    const client = async (unit) => {
        const socket = net.connect(plant);
        const made = new ModbusTCPClient(socket, unit, PATIENCE);
        await once(socket, "connect");
        return made;
    };
    return { call: await client(1), absent: await client(99) };
}

// The body of the reply, which must be a normal one.
async function good(call) {
    try {
        return (await call).response.body;
    } catch (error) {
        throw new Error(`${error.err}: ${error.message}`);
    }
}

// The call must be answered by this exception.
async function refused(call, code) {
    const outcome = await call.then(() => ({ err: "a normal reply" }), (error) => error);
    same([outcome.err, outcome.response?.body.code], ["ModbusException", code], "outcome");
}

scenario("fc1 reads coils", async ({ call }) => {
    const expected = [1, 0, 1, 1, 0, 0, 1, 1, 1, 1];
    same(first(10, (await good(call.readCoils(0, 10))).valuesAsArray), expected, "coils");
    same((await good(call.readCoils(0, 2000))).valuesAsBuffer.length, 250, "bytes of 2000 coils");
    await refused(call.readCoils(1999, 2), 2);
});

scenario("fc2 reads discrete inputs", async ({ call }) => {
    same([...(await good(call.readDiscreteInputs(0, 22))).valuesAsBuffer], [0xAC, 0xDB, 0x35], "discrete inputs");
    await refused(call.readDiscreteInputs(0, 23), 2);
});

scenario("fc3 reads holding registers", async ({ call }) => {
    same((await good(call.readHoldingRegisters(0, 6))).valuesAsArray, [10, 20, 30, 40, 50, 0], "registers");
    same((await good(call.readHoldingRegisters(998, 4))).valuesAsArray, [0, 0, 7, 7], "across blocks");
    same((await good(call.readHoldingRegisters(100, 125))).valuesAsArray.length, 125, "number of registers");
    await refused(call.readHoldingRegisters(1009, 2), 2);
});

scenario("fc4 reads input registers", async ({ call }) => {
    same((await good(call.readInputRegisters(0, 4))).valuesAsArray, [1, 2, 3, 65535], "registers");
    await refused(call.readInputRegisters(3, 2), 2);
});

scenario("fc5 writes a coil and echoes", async ({ call }) => {
    for (const state of [true, false]) {
        const echo = await good(call.writeSingleCoil(100, state));
        same([echo.address, echo.value], [100, state], "echo");
        same((await good(call.readCoils(100, 1))).valuesAsArray[0], Number(state), "the coil");
    }
    await refused(call.writeSingleCoil(2000, true), 2);
});

scenario("fc6 writes a register and echoes", async ({ call }) => {
    const echo = await good(call.writeSingleRegister(100, 0xABCD));
    same([echo.address, echo.value], [100, 0xABCD], "echo");
    same((await good(call.readHoldingRegisters(99, 3))).valuesAsArray, [0, 0xABCD, 0], "around the register");
    await refused(call.writeSingleRegister(900, 1), 2);
});

scenario("fc15 writes coils and leaves their neighbours", async ({ call }) => {
    const pattern = [1, 0, 1, 1, 0, 0, 1, 1, 1, 0].map(Boolean);
    await good(call.writeMultipleCoils(200, new Array(12).fill(false)));
    const reply = await good(call.writeMultipleCoils(201, pattern));
    same([reply.start, reply.quantity], [201, 10], "reply");
    same(first(12, (await good(call.readCoils(200, 12))).valuesAsArray), [0, ...pattern.map(Number), 0], "coils");
    await refused(call.writeMultipleCoils(1999, [true, true]), 2);
});

scenario("fc16 writes registers", async ({ call }) => {
    // Above 120 registers the client announces fewer bytes than it sends.
    const values = Array.from({ length: 120 }, (_, n) => (7 * n) & 0xFFFF);
    const reply = await good(call.writeMultipleRegisters(200, values));
    same([reply.start, reply.quantity], [200, 120], "reply");
    same((await good(call.readHoldingRegisters(200, 120))).valuesAsArray, values, "registers");
    await refused(call.writeMultipleRegisters(899, [1, 2]), 2);
});

scenario("fc43 reads basic identification", async ({ call }) => {
    const reply = await good(call.readDeviceIdentification(1, 0));
    same(reply.objects.map(({ id, value }) => [id, value.toString()]), [[0, "Wharf"], [1, "boiler"], [2, "1.0"]], "objects");
});

scenario("an unknown unit answers 0B", async ({ absent }) => {
    await refused(absent.readHoldingRegisters(0, 1), 0x0B);
});

scenario("calls that wait for each other each get their own reply", async ({ call }) => {
    const values = Array.from({ length: 64 }, (_, n) => 3000 + n);
    await good(call.writeMultipleRegisters(400, values));
    const replies = await Promise.all(values.map((_, n) => good(call.readHoldingRegisters(400 + n, 1))));
    same(replies.map((reply) => reply.valuesAsArray[0]), values, "registers");
});

runAll(connected);
