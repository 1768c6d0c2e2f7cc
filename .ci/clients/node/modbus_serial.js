// modbus-serial: functions 1 to 6, 15 to 17, 20, 22, 23, 43/14 and a custom one, by value and with exceptions.
"use strict";

const ModbusRTU = require("modbus-serial");
const { PATIENCE, first, runAll, same, scenario } = require("./harness.js");

async function connected({ plant }) {
    const client = new ModbusRTU();
    client.setTimeout(PATIENCE);
    await client.connectTCP(plant.host, { port: plant.port });
    client.setID(1);
    return client;
}

// The call must be answered by this exception.
async function refused(call, code) {
    const outcome = await call.then((reply) => reply, (error) => error);
    same(outcome.modbusCode, code, "exception code");
}

// The call with another unit id.
async function asUnit(client, unit, call) {
    client.setID(unit);
    try {
        return await call();
    } finally {
        client.setID(1);
    }
}

scenario("fc1 reads coils", async (client) => {
    const expected = [true, false, true, true, false, false, true, true, true, true];
    same(first(10, (await client.readCoils(0, 10)).data), expected, "coils");
    same((await client.readCoils(0, 2000)).buffer.length, 250, "bytes of 2000 coils");
    await refused(client.readCoils(1999, 2), 2);
    await refused(client.readCoils(0, 2001), 3);
});

scenario("fc2 reads discrete inputs", async (client) => {
    same([...(await client.readDiscreteInputs(0, 22)).buffer], [0xAC, 0xDB, 0x35], "discrete inputs");
    await refused(client.readDiscreteInputs(0, 23), 2);
});

scenario("fc3 reads holding registers", async (client) => {
    same((await client.readHoldingRegisters(0, 6)).data, [10, 20, 30, 40, 50, 0], "registers");
    same((await client.readHoldingRegisters(998, 4)).data, [0, 0, 7, 7], "across blocks");
    same((await client.readHoldingRegisters(100, 125)).data.length, 125, "number of registers");
    same((await client.readHoldingRegisters(65535, 1)).data, [0xBEEF], "the last register");
    await refused(client.readHoldingRegisters(1009, 2), 2);
    await refused(client.readHoldingRegisters(0, 126), 3);
});

scenario("fc4 reads input registers", async (client) => {
    const reply = await client.readInputRegisters(0, 4);
    same(reply.data, [1, 2, 3, 65535], "registers");
    same((await client.readInputRegisters(100, 2)).buffer.readFloatBE(), 123456.0, "a float");
    await refused(client.readInputRegisters(3, 2), 2);
});

scenario("fc5 writes a coil and echoes", async (client) => {
    for (const state of [true, false]) {
        same(await client.writeCoil(100, state), { address: 100, state }, "echo");
        same((await client.readCoils(100, 1)).data[0], state, "the coil");
    }
    await refused(client.writeCoil(2000, true), 2);
});

scenario("fc6 writes a register and echoes", async (client) => {
    same(await client.writeRegister(100, 0xABCD), { address: 100, value: 0xABCD }, "echo");
    same((await client.readHoldingRegisters(99, 3)).data, [0, 0xABCD, 0], "around the register");
    await refused(client.writeRegister(900, 1), 2);
    same((await client.readHoldingRegisters(900, 1)).data, [0], "the read-only register");
});

scenario("fc15 writes coils and leaves their neighbours", async (client) => {
    const pattern = [true, false, true, true, false, false, true, true, true, false];
    await client.writeCoils(200, new Array(12).fill(false));
    same(await client.writeCoils(201, pattern), { address: 201, length: 10 }, "reply");
    same(first(12, (await client.readCoils(200, 12)).data), [false, ...pattern, false], "coils");
    await refused(client.writeCoils(1999, [true, true]), 2);
    same((await client.readCoils(1999, 1)).data[0], false, "nothing is written by half");
});

scenario("fc16 writes registers", async (client) => {
    const values = Array.from({ length: 123 }, (_, n) => (7 * n) & 0xFFFF);
    same(await client.writeRegisters(200, values), { address: 200, length: 123 }, "reply");
    same((await client.readHoldingRegisters(200, 123)).data, values, "registers");
    await refused(client.writeRegisters(899, [1, 2]), 2);
    same((await client.readHoldingRegisters(899, 2)).data, [0, 0], "nothing is written by half");
});

scenario("fc17 reports the server id", async (client) => {
    // The client takes the second byte for the run indicator, so the unit with an id of one byte is asked; it looks at
    // neither of its arguments.
    const reply = await asUnit(client, 3, () => client.reportServerID(0, 0));
    same([reply.serverId, reply.running, reply.additionalData.toString()], [0xB4, false, "spare"], "server id");
});

scenario("fc20 reads a hundred file records", async (client) => {
    // The client asks for 100 records, always, and keeps the checksum that it made up behind them.
    const reply = await client.readFileRecords(4, 0);
    same([reply.length, ...reply.data.slice(0, 8)], [202, 0, 1, 0, 2, 0, 3, 0, 0], "records");
    await refused(client.readFileRecords(6, 0), 2);
    await refused(client.readFileRecords(4, 101), 2);
    await refused(client.readFileRecords(4, 100), 8);
});

scenario("fc22 masks a register", async (client) => {
    await client.writeRegister(130, 0x12);
    same(await client.maskWriteRegister(130, 0xF2, 0x25), { address: 130, andMask: 0xF2, orMask: 0x25 }, "echo");
    same((await client.readHoldingRegisters(130, 1)).data, [0x17], "the register");
    await refused(client.maskWriteRegister(905, 0, 1), 2);
});

scenario("fc23 writes before it reads", async (client) => {
    await client.writeRegisters(140, [1, 2, 3, 4]);
    same((await client.readWriteRegisters(140, 4, 141, 2, [8, 9])).data, [1, 8, 9, 4], "registers after the write");
    await refused(client.readWriteRegisters(1009, 2, 140, 1, [99]), 2);
    same((await client.readHoldingRegisters(140, 1)).data, [1], "nothing is written");
});

scenario("fc43 reads identification by read code", async (client) => {
    const basic = { 0: "Wharf", 1: "boiler", 2: "1.0" };
    const regular = { ...basic, 3: "https://example.invalid", 4: "Boiler", 5: "B7", 6: "heating" };
    const extended = { ...regular, 0x80: "hall 3" };
    for (const [code, data] of [[1, basic], [2, regular], [3, extended]]) {
        same(await client.readDeviceIdentification(code, 0), { data, conformityLevel: 0x83 }, `read code ${code}`);
    }
    same((await client.readDeviceIdentification(4, 0x80)).data, { 0x80: "hall 3" }, "one object");
    await refused(client.readDeviceIdentification(4, 0x81), 2);
    await refused(client.readDeviceIdentification(5, 0), 3);
});

scenario("a custom function that nobody handles is refused", async (client) => {
    await refused(client.customFunction(65, [1, 2, 3]), 1);
});

scenario("unknown units answer 0B and a unit serves only the codes it lists", async (client) => {
    await refused(asUnit(client, 99, () => client.readHoldingRegisters(0, 1)), 0x0B);
    await refused(asUnit(client, 3, () => client.writeRegister(0, 1)), 1);
    same((await asUnit(client, 3, () => client.readHoldingRegisters(0, 2))).data, [300, 301], "registers of unit 3");
});

scenario("sixteen calls at once each get their own reply", async (client) => {
    const values = Array.from({ length: 16 }, (_, n) => 1000 + n);
    await client.writeRegisters(400, values);
    const replies = await Promise.all(values.map((_, n) => client.readHoldingRegisters(400 + n, 1)));
    same(replies.map((reply) => reply.data[0]), values, "registers");
});

runAll(connected);
