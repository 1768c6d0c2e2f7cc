//! `wharf-core` against the naive server on random scripts.

use wharf_tests::fixture::{LATER, Plant, UnitZero, denials};
use wharf_tests::fuzz;
use wharf_tests::modbus::Core;
use wharf_tests::naive::Naive;
use wharf_tests::requests;
use wharf_tests::rng::{Rng, SEED_VARIABLE, seeds};
use wharf_tests::vectors::{Server, frame, hex};

#[test]
fn random_requests_get_the_same_replies_as_from_the_naive_server() {
    let mut answered = 0;
    let mut exceptions = 0;
    for seed in seeds(60) {
        let mut rng = Rng::new(seed);
        let mut plant = Plant::standard();
        plant.unit_0 = *rng.pick(&[UnitZero::Device, UnitZero::Broadcast, UnitZero::BroadcastReply]);
        if rng.chance(1, 2) {
            plant.denials = denials();
        }
        let (mut core, mut naive) = (Core::new(&plant), Naive::new(&plant));
        for number in 0..400 {
            let unit = *rng.pick(&[1, 1, 1, 1, 1, 1, 2, 3, 4, 0, 255, 9]);
            let later = seed % 4 == 0 && rng.chance(1, 2);
            let pdu = if later { vec![LATER] } else { requests::draw(&mut rng) };
            let bytes = frame(number, unit, &pdu);
            let (got, expected) = (core.bytes(&bytes), naive.bytes(&bytes));
            answered += usize::from(!got.is_empty());
            exceptions += usize::from(got.get(7).is_some_and(|code| code & 0x80 != 0));
            assert_eq!(hex(&got), hex(&expected), "{SEED_VARIABLE}={seed}, request {number}: {}", hex(&bytes));
            assert_eq!(core.unread(), 0, "{SEED_VARIABLE}={seed}: the connection waits for its socket");
            // Mostly one of the last, but the oldest is never left to hold up more than the storage has room for.
            let oldest = (0..naive.deferred()).find(|nth| naive.is_pending(*nth)).unwrap_or(0);
            let nth = if number % 8 == 0 { oldest } else { naive.deferred().saturating_sub(1 + rng.index(20)) };
            if number % 8 == 0 || rng.chance(1, 4) {
                let reply = [LATER, rng.byte()];
                let answer = if rng.chance(1, 4) { Err(1 + rng.byte() % 12) } else { Ok(reply.as_slice()) };
                let (got, expected) = (core.answer(nth, answer), naive.answer(nth, answer));
                let differ = got.iter().zip(&expected).position(|(got, expected)| got != expected);
                let around = differ.map(|at| (hex(&got[at.saturating_sub(12)..at + 1]), hex(&expected[at..at + 1])));
                assert!(got == expected, "{SEED_VARIABLE}={seed}, answer to {nth}, at {differ:?}: {around:?}");
            }
        }
    }
    assert!(answered > 100 && exceptions > 10, "{answered} replies, {exceptions} exceptions");
}

#[test]
fn fuzz_bodies_hold_on_random_bytes() {
    for seed in seeds(300) {
        let mut rng = Rng::new(seed);
        let len = rng.index(400);
        let data = rng.bytes(len);
        for &(_, body) in fuzz::TARGETS {
            body(&data);
        }
        // Random bytes rarely make a request, so these are put together of requests.
        let mut script = vec![rng.byte()];
        for _ in 0..20 {
            let pdu = requests::draw(&mut rng);
            fuzz::request(&[vec![255], pdu.clone()].concat());
            let len = u8::try_from(pdu.len() - 1).unwrap();
            script.extend([rng.byte() & 0x80, rng.byte(), len]);
            script.extend(pdu);
            if rng.chance(1, 3) {
                script.extend([5 | rng.byte() & 0x80, rng.byte() % 4]);
            }
        }
        fuzz::connection(&script);
        let mut stream = vec![rng.byte()];
        for _ in 0..6 {
            stream.extend(frame(rng.word(), rng.byte(), &requests::draw(&mut rng)));
            if rng.chance(1, 6) {
                stream.extend(requests::noise(&mut rng));
            }
        }
        fuzz::mbap_stream(&stream);
    }
}
